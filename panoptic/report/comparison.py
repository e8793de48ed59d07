"""The content of the page that compares runs: rows with the values of all runs, and their differences from the first.

A difference counts as one only where the 95 % interval of the paired difference excludes 0.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from string import ascii_uppercase

from panoptic.error_browser.entries import CLEAN
from panoptic.format.categories import Category, CategoryTable
from panoptic.io.errors import DatasetError
from panoptic.passport.document import Passport
from panoptic.report import contents
from panoptic.report.images import Example, ImageFiles, Panel
from panoptic.report.origin import facts, settings_by_section
from panoptic.report.paired import CountedRun, Difference, PairedScores, compare
from panoptic.report.run_files import RunFiles
from panoptic.report.scores import Score
from panoptic.robustness.summary import CLASS_GROUPS

MOST_RUNS = 7
_SCORES: Mapping[str, str] = {"pq": "PQ", "boundary_pq": "boundary PQ", "sq": "SQ", "rq": "RQ"}
_SINGLE: Mapping[str, str] = {"miou": "mIoU", "ap.segm.AP": "mask AP", "ap.bbox.AP": "box AP"}
_IMAGES = 3  # that are shown for a run, in either direction


@dataclass(frozen=True)
class Column:
    """A run with its letter; `paired` is None for the first."""

    letter: str
    run: RunFiles
    paired: PairedScores | None

    @property
    def name(self) -> str:
        """Its letter and folder."""
        return f"{self.letter}: {self.run.folder}"


@dataclass(frozen=True)
class Row:
    """Values of all runs, and the difference of each other run from the first."""

    title: str
    group: str
    values: Sequence[float | None]
    differences: Sequence[Difference]
    color: str = ""


@dataclass(frozen=True)
class ChangedImage:
    """An image, and what the first and another run predict for it, if their outcomes were recorded."""

    title: str
    letter: str
    values: tuple[float | None, float | None]
    difference: float
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Comparison:
    """Runs that are scored on the same images."""

    columns: Sequence[Column]
    categories: CategoryTable | None
    """None if no run says which classes are things."""
    counted: Sequence[CountedRun]

    @classmethod
    def read(cls, folders: Sequence[Path]) -> "Comparison":
        """Read the folders of runs. Raises `DatasetError` for runs that cannot be compared, saying what differs."""
        if not 2 <= len(folders) <= MOST_RUNS:
            raise DatasetError(f"{len(folders)} runs are given; compare 2 to {MOST_RUNS}")
        runs = [RunFiles.read(folder) for folder in folders]
        _require_same_classes(runs)
        known = [run.categories for run in runs if run.categories is not None]
        categories = known[0] if known else None
        counted = [_read_counts(run) for run in runs]
        table = categories or _untyped(counted[0])
        paired = [None, *(compare(counted[0], other, table) for other in counted[1:])]
        columns = [Column(*column) for column in zip(ascii_uppercase, runs, paired, strict=False)]
        return cls(columns, categories, counted)

    @property
    def others(self) -> Sequence[tuple[Column, PairedScores]]:
        """The runs that are compared with the first."""
        return [(column, column.paired) for column in self.columns if column.paired is not None]

    def score_rows(self) -> Iterator[Row]:
        """Yield the scores that any run has; those without counts by image have no interval."""
        groups = CLASS_GROUPS if self.categories else CLASS_GROUPS[:1]
        for key, title in _SCORES.items():
            for group in groups:
                missing = Difference(None)
                differences = [paired.groups.get(key, {}).get(group, missing) for _, paired in self.others]
                yield from self._row(title, group, self._scores(f"{key}.{group}"), differences)
        for name, title in _SINGLE.items():
            yield from self._row(title, "", self._scores(name))

    def loss_rows(self) -> Iterator[Row]:
        """Yield PQ loss by type of error."""
        for error in contents.ERRORS:
            parts = [(run.breakdown or {}).get("all") for run in self._runs]
            yield from self._row(error, "", [part.pq_loss.get(error) if part else None for part in parts])

    def corruption_rows(self) -> Iterator[Row]:
        """Yield PQ on clean images, on average under corruption, and under each corruption."""
        found = [run.robustness for run in self._runs]
        yield from self._row("clean", "", [one.clean["pq"]["all"] if one else None for one in found])
        yield from self._row("mean of all", "", [one.mean_pq() if one else None for one in found])
        names = dict.fromkeys(name for one in found if one for name in one.corruptions)
        for name in names:
            values = [one.pq(name) if one and name in one.corruptions else None for one in found]
            yield from self._row(name.replace("_", " "), "", values)

    def class_rows(self) -> list[Row]:
        """Return PQ of every class that occurs, the largest difference first."""
        rows: list[Row] = []
        for scores in self._runs[0].classes or ():
            values = [_pq_of(run, scores.id) for run in self._runs]
            differences = [paired.classes.get(scores.id, Difference(None)) for _, paired in self.others]
            type_, color = contents.type_and_color(self.categories, scores.id)
            rows += self._row(scores.name, type_, values, differences, color)
        return sorted(rows, key=lambda row: -abs(row.differences[0].value or 0))

    def images(self) -> list[ChangedImage]:
        """Return the images in which another run is lower than the first by most, then those in which it is higher."""
        found = []
        for number, (_, paired) in enumerate(self.others, start=1):
            changed = sorted((value, key) for key, value in paired.images.items())
            lower = [pair for pair in changed if pair[0] < 0][:_IMAGES]
            higher = [pair for pair in reversed(changed) if pair[0] > 0][:_IMAGES]
            found += [self._image(number, key, value) for value, key in (*lower, *higher)]
        return found

    def setting_rows(self) -> list[tuple[str, list[str]]]:
        """Return the settings that differ, by full name; what a run does not say is empty."""
        return differing([_settings(run.passport) if run.passport else None for run in self._runs])

    def fact_rows(self) -> list[tuple[str, list[str]]]:
        """Return what passports record differently of code, machine, data and training, by name."""
        return differing([dict(facts(run.passport)) if run.passport else None for run in self._runs])

    @property
    def _runs(self) -> list[RunFiles]:
        return [column.run for column in self.columns]

    def _scores(self, name: str) -> list[float | None]:
        return [run.scores.get(name, Score(None)).value for run in self._runs]

    def _row(
        self,
        title: str,
        group: str,
        values: Sequence[float | None],
        differences: Sequence[Difference] | None = None,
        color: str = "",
    ) -> Iterator[Row]:
        """Yield a row, unless no run has a value; by default the differences have no intervals."""
        if any(value is not None for value in values):
            plain = [Difference.of(value, values[0]) for value in values[1:]]
            yield Row(title, group, values, differences or plain, color)

    def _image(self, number: int, key: str, difference: float) -> ChangedImage:
        pair = (0, number)
        before, after = (self.counted[position].image_pq[key] for position in pair)
        title, panels = key, list[Panel]()
        examples = [self._example(position, key) for position in pair]
        known = [example for example in examples if example is not None]
        if len(known) == len(pair):
            title, panels = known[0].entry.file_name, list(known[0].panels[:-1])
            for position, example in zip(pair, known, strict=True):
                panels.append(replace(example.panels[-1], title=self.columns[position].name))
        return ChangedImage(title, self.columns[number].letter, (before, after), difference, panels)

    def _example(self, position: int, key: str) -> Example | None:
        """Draw an image, its ground truth and what a run predicts for it; None if the run did not record that."""
        browsed, files = self._runs[position].browsed, self._files[position]
        if browsed is None or files is None:
            return None
        clean = (line for line in browsed.lines if line.corruption == CLEAN and str(line.image_id) == key)
        line = next(clean, None)
        return files.example(line) if line else None

    @cached_property
    def _files(self) -> list[ImageFiles | None]:
        return [ImageFiles(run.browsed) if run.browsed else None for run in self._runs]


def _read_counts(run: RunFiles) -> CountedRun:
    path = run.folder / "evaluate" / "per_image.json"
    if not os.path.lexists(path):
        raise DatasetError(
            f"{path}: there is no such file, without which no difference has an interval; score the run with "
            "`dvc repro evaluate` or `panoptic evaluate --per-image`"
        )
    return CountedRun.read(path)


def _require_same_classes(runs: Sequence[RunFiles]) -> None:
    first, *others = runs
    for other in others:
        where, than = (str(run.folder) for run in (other, first))
        if first.categories and other.categories:
            first.categories.require_same(other.categories, where, than, "compare runs on the same data")
        named = [{one.id: one.name for one in run.classes} for run in (first, other) if run.classes is not None]
        if len(named) == 2 and named[0] != named[1]:
            changed = [key for key in named[0] | named[1] if named[0].get(key) != named[1].get(key)]
            raise DatasetError(
                f"{where}: its class {changed[0]} is {named[1].get(changed[0], 'missing')!r:.60}, but that of {than} "
                f"is {named[0].get(changed[0], 'missing')!r:.60}; compare runs on the same data"
            )


def _untyped(run: CountedRun) -> CategoryTable:
    """Make a table of all classes that occur, for runs that do not say which are things."""
    ids = sorted({key for image in run.images.values() for classes in image.values() for key in classes})
    return CategoryTable.of(Category(key, str(key), True, (0, 0, 0)) for key in ids)


def _pq_of(run: RunFiles, category_id: int) -> float | None:
    return next((scores.pq for scores in run.classes or () if scores.id == category_id), None)


def _settings(passport: Passport) -> dict[str, str]:
    sections = settings_by_section(passport)
    return {f"{section}.{key}": value for section, values in sections.items() for key, value in values}


def differing(described: Sequence[Mapping[str, str] | None]) -> list[tuple[str, list[str]]]:
    """Return what is not the same in all descriptions, by name; what one does not say is empty.

    Runs without a description, which are None, differ in nothing.
    """
    names = dict.fromkeys(name for one in described if one is not None for name in one)
    rows = [(name, [None if one is None else one.get(name, "") for one in described]) for name in names]
    return [(name, [value or "" for value in values]) for name, values in rows if len(set(values) - {None}) > 1]
