"""The outcomes of segments that `stages.browse` wrote: the images that a report shows, and confusions of classes.

The file has a line for each image and variant, 160 000 for COCO-C; only what images are chosen by is kept of each.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from panoptic.error_browser.entries import CLEAN, FORMAT, BrowserEntry, parse_entry, read_entries
from panoptic.format.categories import CategoryTable
from panoptic.format.image_id import ImageId
from panoptic.io.errors import DatasetError
from panoptic.io.json_fields import read_json
from panoptic.io.reading import open_file

OUTCOMES: Mapping[str, Mapping[str, str]] = {
    "ground_truth": {
        "matched": "found",
        "merging": "lost in merging",
        "classification": "taken for another class",
        "localization": "found only roughly",
        "missed": "missed",
        "crowd": "crowd, not counted",
    },
    "prediction": {
        "matched": "right",
        "classification": "wrong class",
        "localization": "too inexact",
        "background": "nothing there",
        "ignored": "ignored (on void or crowd)",
    },
}
"""The outcomes of segments by side, in words."""
_HINT = "run `dvc repro browse` again"
_WORST, _MEDIAN, _BEST = 3, 2, 2  # images that are shown
_SEVERITY = 3


@dataclass(frozen=True, slots=True)
class ImageLine:
    """The position of an image's entry in the file, and the values by which images are chosen."""

    offset: int
    image_id: ImageId
    corruption: str
    severity: int
    pq: float | None


@dataclass(frozen=True)
class Strip:
    """One image, clean and under each corruption at one severity."""

    severity: int
    clean: ImageLine
    corrupted: Sequence[ImageLine]


@dataclass(frozen=True)
class Browsed:
    """The folder of the browse stage; `confusions` counts wrong classes on clean images, as (ground truth, found)."""

    folder: Path
    categories: CategoryTable
    lines: Sequence[ImageLine]
    confusions: Mapping[tuple[int, int], int]

    @classmethod
    def read(cls, folder: Path) -> "Browsed":
        """Read the description and all lines. Raises `DatasetError` naming the file, and the line, that is damaged."""
        description = read_json(folder / "run.json")
        if (found := description.values.get("format")) != FORMAT:
            raise DatasetError(f"{description.where}: format {found!r:.40}, expected {FORMAT!r}; {_HINT}")
        categories = CategoryTable.from_json(description.values.get("categories"), description.where)
        path = folder / "images.jsonl"
        lines, confusions = list[ImageLine](), Counter[tuple[int, int]]()
        for offset, entry in read_entries(path, description.integer("images"), categories):
            lines.append(ImageLine(offset, entry.image_id, entry.corruption, entry.severity, entry.pq))
            confusions.update(_confusions(entry))
        return cls(folder, categories, lines, confusions)

    def entry(self, line: ImageLine) -> BrowserEntry:
        """Read the entry of an image."""
        path = self.folder / "images.jsonl"
        with open_file(path) as file:
            file.seek(line.offset)
            return parse_entry(file.readline(), str(path), self.categories)

    def examples(self) -> dict[str, list[ImageLine]]:
        """Choose the clean images with the lowest, the median and the highest PQ, none of them twice."""
        known = [(line.pq, number, line) for number, line in enumerate(self._clean) if line.pq is not None]
        ordered = [line for *_, line in sorted(known, key=lambda item: item[:2])]
        last, middle = len(ordered) - 1, (len(ordered) - 1) // 2
        ranks = {
            "worst": range(_WORST),
            "median": range(middle, middle + _MEDIAN),
            "best": range(last, last - _BEST, -1),
        }
        examples, taken = dict[str, list[ImageLine]](), set[int]()
        for title, wanted in ranks.items():
            free = [rank for rank in wanted if 0 <= rank <= last and rank not in taken]
            taken.update(free)
            examples[title] = [ordered[rank] for rank in free]
        return examples

    def strip(self) -> Strip | None:
        """Choose the image that suffers as the median one does, at severity 3 or the nearest; None without any."""
        severities = sorted({line.severity for line in self.lines if line.corruption != CLEAN})
        if not severities:
            return None
        severity = min(severities, key=lambda found: abs(found - _SEVERITY))
        variants: dict[ImageId, list[ImageLine]] = defaultdict(list)
        for line in self.lines:
            if line.severity == severity:
                variants[line.image_id].append(line)
        clean = {line.image_id: line for line in self._clean if line.image_id in variants}
        most = max((len(variants[image_id]) for image_id in clean), default=0)
        complete = [image_id for image_id in clean if len(variants[image_id]) == most]
        if not complete:
            return None
        ordered = sorted(complete, key=lambda image_id: sum(line.pq or 0 for line in variants[image_id]))
        chosen = ordered[(len(ordered) - 1) // 2]
        return Strip(severity, clean[chosen], variants[chosen])

    @property
    def _clean(self) -> list[ImageLine]:
        return [line for line in self.lines if line.corruption == CLEAN]


def _confusions(entry: BrowserEntry) -> list[tuple[int, int]]:
    if entry.corruption != CLEAN:
        return []
    return [
        (segment.other_category_id, segment.category_id)
        for segment in entry.prediction
        if segment.outcome == "classification" and segment.other_category_id is not None
    ]
