"""The records of the error browser: one line of JSON for each image, written by stages.browse.

Names of files without a folder before them are entries of `files.zip` beside the lines; `image` is a path like those of
the index, relative to the working directory, or None where the image is in the archive, too.
"""

import json
import math
from collections.abc import Callable, Collection, Container, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import get_args, get_type_hints

from panoptic.io.errors import DatasetError
from panoptic.io.reading import open_file

FORMAT = "browse/2"
CLEAN = "none"
"""The corruption of an image that is not corrupted; its severity is 0."""
SIDES = ("ground_truth", "prediction")
FALSE_NEGATIVES = ("merging", "classification", "localization", "missed")
"""The outcomes of ground truth segments that are false negatives."""
FALSE_POSITIVES = ("classification", "localization", "background")
"""The outcomes of predicted segments that are false positives."""
OUTCOMES: Mapping[str, Collection[str]] = {
    "ground_truth": ("matched", *FALSE_NEGATIVES, "crowd"),
    "prediction": ("matched", *FALSE_POSITIVES, "ignored"),
}
"""The outcomes of segments by side."""
_HINT = "run `dvc repro browse` again"
_LARGEST_ID = 2**31 - 1  # of the maps in which segments are drawn


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """A ground truth or predicted segment. `box_xywh` and `area` in pixels; things have a `mask`, cropped to the box.

    `outcome` and `other_id` are those of `panoptic.error_browser.outcomes`; `score` is None where none is given.
    """

    id: int
    category_id: int
    outcome: str
    iou: float
    boundary_iou: float
    other_id: int | None
    other_category_id: int | None
    is_crowd: bool
    score: float | None
    area: int
    box_xywh: tuple[int, int, int, int]
    mask: str | None


@dataclass(frozen=True, slots=True)
class BrowserEntry:
    """An image, clean or under a corruption.

    Qualities are fractions of 1, averaged over the classes that occur in this image, None where none does; `pq_loss` by
    error type adds up to 1 - `pq`. `pq_lost_to_corruption`: the clean image's PQ minus this one's.
    """

    image_id: int | str
    file_name: str
    corruption: str
    severity: int
    image: str | None
    height: int
    width: int
    pq: float | None
    boundary_pq: float | None
    pq_lost_to_corruption: float | None
    tp: int
    fp: int
    fn: int
    pq_loss: Mapping[str, float]
    stuff_ground_truth: str
    stuff_prediction: str
    overlay: str
    ground_truth: tuple[SegmentEntry, ...]
    prediction: tuple[SegmentEntry, ...]

    @property
    def segments(self) -> dict[str, tuple[SegmentEntry, ...]]:
        """The segments by side."""
        return {"ground_truth": self.ground_truth, "prediction": self.prediction}

    def to_line(self) -> str:
        """One line of JSON without its end."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> "BrowserEntry":
        """Read the entry that `to_line` wrote. Raises `ValueError` that says what is wrong with the line."""
        try:
            fields = json.loads(line)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        _require_types(cls, fields)
        for side in SIDES:
            for segment in fields[side]:
                _require_types(SegmentEntry, segment)
            segments = (segment | {"box_xywh": tuple(segment["box_xywh"])} for segment in fields[side])
            fields[side] = tuple(SegmentEntry(**segment) for segment in segments)
        entry = cls(**fields)
        for side, found in entry.segments.items():
            for segment in found:
                _require_plausible(segment, side, entry)
        return entry


def read_entries(path: Path, images: int, categories: Container[int]) -> Iterator[tuple[int, BrowserEntry]]:
    """Yield every entry of a file, and where its line begins. Raises `DatasetError` that names a damaged line.

    `images` is the number of entries, and `categories` contains the ids of all classes.
    """
    offset = number = 0
    try:
        with open_file(path) as file:
            for number, line in enumerate(file, start=1):
                yield offset, parse_entry(line, f"{path}: line {number}", categories)
                offset += len(line)
    except FileNotFoundError:
        raise DatasetError(f"{path}: there is no such file beside run.json; {_HINT}") from None
    if number != images:
        raise DatasetError(f"{path}: has {number} lines, expected {images}; {_HINT}")


def parse_entry(line: bytes, where: str, categories: Container[int]) -> BrowserEntry:
    """Parse a line; raises `DatasetError` that begins with `where`."""
    try:
        entry = BrowserEntry.from_line(line.decode())
        for segment in (*entry.ground_truth, *entry.prediction):
            for category_id in (segment.category_id, segment.other_category_id):
                if category_id is not None and category_id not in categories:
                    raise ValueError(f"no class has id {category_id}")
    except ValueError as error:
        raise DatasetError(f"{where}: not as stages.browse writes it ({error}); {_HINT}") from None
    return entry


def _require_plausible(segment: SegmentEntry, side: str, entry: BrowserEntry) -> None:
    left, top, width, height = segment.box_xywh
    if segment.outcome not in OUTCOMES[side]:
        raise ValueError(f"{side} has the outcome {segment.outcome!r:.40}")
    if not 0 < segment.id <= _LARGEST_ID:
        raise ValueError(f"{side} has a segment with id {segment.id}")
    if min(segment.box_xywh) < 0 or left + width > entry.width or top + height > entry.height:
        raise ValueError(f"the box {segment.box_xywh} is not inside the image of {entry.width} x {entry.height}")


def _require_types(record: type, fields: object) -> None:
    """Check that fields, as JSON has them, are those of a record and have their types."""
    if not isinstance(fields, dict):
        raise ValueError(f"{fields!r:.40} is no object")
    checks = _checks(record)
    if differing := sorted(checks.keys() ^ fields.keys()):
        raise ValueError(f"{'lacks' if differing[0] in checks else 'has an unknown'} field {differing[0]!r:.40}")
    for name, fits in checks.items():
        if not fits(fields[name]):
            raise ValueError(f"{name} is {fields[name]!r:.40}")


@cache
def _checks(record: type) -> dict[str, Callable[[object], bool]]:
    return {name: _check(hint) for name, hint in get_type_hints(record).items()}


def _check(hint: object) -> Callable[[object], bool]:
    """Return what tells whether a value of JSON has a type, which may be one of several."""
    if hint in _CHECKS:
        return _CHECKS[hint]
    parts = [_CHECKS[part] for part in get_args(hint)]
    return lambda value: any(fits(value) for fits in parts)


def _is_integer(value: object) -> bool:
    return type(value) is int and value.bit_length() < 64


def _is_number(value: object) -> bool:
    return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.encode(errors="replace").decode() == value


_CHECKS: Mapping[object, Callable[[object], bool]] = {
    NoneType: lambda value: value is None,
    bool: lambda value: isinstance(value, bool),
    int: _is_integer,
    float: _is_number,
    str: _is_text,
    Mapping[str, float]: lambda value: isinstance(value, dict) and all(map(_is_number, value.values())),
    tuple[int, int, int, int]: lambda value: isinstance(value, list) and [*map(_is_integer, value)] == [True] * 4,
    tuple[SegmentEntry, ...]: lambda value: isinstance(value, list),
}
"""What tells whether a value of JSON has the type of a field."""
