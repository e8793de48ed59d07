"""The files of a run that a report shows, read and checked. What a run lacks is None, and `MISSING` says what makes it.

Only the scores are required, so a folder with nothing but `evaluate/metrics.json` is a run, too.
"""

import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from panoptic.format.categories import CategoryTable
from panoptic.io.errors import DatasetError
from panoptic.io.json_fields import JsonObject, load_json, read_json
from panoptic.io.reading import read_text
from panoptic.passport.document import Passport, read_passport
from panoptic.report.browsed import Browsed
from panoptic.report.explained import FILE, Explanation
from panoptic.report.scores import (
    Breakdown,
    ClassScores,
    Score,
    read_breakdown,
    read_classes,
    read_scores,
)
from panoptic.report.variants import EARLY_EXIT_FILE, MERGING_FILE, EarlyExit, MergingComparison
from panoptic.robustness.summary import CLASS_GROUPS, Robustness, read_variants

T = TypeVar("T")
Table = Mapping[str, Sequence[str]]
"""The columns of a CSV file by name."""
LOSS = ("total",)
"""The columns of the loss that are drawn."""

MISSING: Mapping[str, str] = {
    "breakdown": "There is no error breakdown in evaluate/; it comes from `dvc repro evaluate`.",
    "classes": "There are no scores by class in evaluate/; they come from `dvc repro evaluate`.",
    "sizes": "There are no scores by size of segments in evaluate/; they come from `dvc repro evaluate`.",
    "loss": "There is no train/loss.csv: this run has not trained a network here, which `dvc repro train` does.",
    "quality": "There is no train/quality.csv: `dvc repro train` validates every train.validate_every steps.",
    "robustness": "There are no scores under corruption in robustness/; they come from `dvc repro robustness`.",
    "browsed": "There are no outcomes of segments in browse/; they come from `dvc repro browse`.",
    "complexity": "There are no counts in complexity/; they come from `dvc repro complexity`.",
    "passport": "There is no passport.json, which records all of this; it comes from `dvc repro passport`.",
}


@dataclass(frozen=True)
class Latency:
    """The median time of one image of a size, and the peak of memory."""

    size: str
    device: str
    median_ms: float
    memory_mib: float | None


@dataclass(frozen=True)
class ComplexityRow:
    """Parameters and multiply-adds of one model."""

    name: str
    title: str
    parameters: int
    gmacs: float
    size: str
    latencies: tuple[Latency, ...]


@dataclass(frozen=True)
class RunFiles:
    """All that a report shows of a run."""

    folder: Path
    scores: Mapping[str, Score]
    """By full name, such as `pq.things`, `miou` or `ap.segm.AP`."""
    images: int | None
    classes: tuple[ClassScores, ...] | None
    breakdown: Mapping[str, Breakdown] | None
    """By group, and by category id in decimal."""
    loss: Table | None
    quality: Table | None
    robustness: Robustness | None
    browsed: Browsed | None
    complexity: tuple[ComplexityRow, ...] | None
    explanation: Explanation | None
    merging: MergingComparison | None
    early_exit: EarlyExit | None
    passport: Passport | None
    categories: CategoryTable | None

    @classmethod
    def read(cls, folder: Path) -> "RunFiles":
        """Read the folder of a run. Raises `DatasetError` that names a damaged file, or says that there is no run."""
        scores = folder / "evaluate" / "metrics.json"
        if not os.path.lexists(scores):
            hint = "score the run with `dvc repro evaluate` or `panoptic evaluate --metrics`"
            raise DatasetError(f"{scores}: there is no such file, so {folder} is no run with scores; {hint}")
        browsed = _optional(folder / "browse" / "run.json", lambda path: Browsed.read(path.parent))
        described = _optional(folder / "train" / "model.json", _read_categories)
        return cls(
            folder=folder,
            scores=read_scores(scores),
            images=_optional(folder / "evaluate" / "per_image.json", lambda path: len(read_json(path).values)),
            classes=_optional(folder / "evaluate" / "per_class.json", read_classes),
            breakdown=_optional(folder / "evaluate" / "error_breakdown.json", read_breakdown),
            loss=_optional(folder / "train" / "loss.csv", lambda path: read_table(path, ("step", *LOSS))),
            quality=_optional(folder / "train" / "quality.csv", lambda path: read_table(path, ("step", *CLASS_GROUPS))),
            robustness=_optional(folder / "robustness" / "variants.json", read_variants),
            browsed=browsed,
            complexity=_optional(folder / "complexity" / "rows.json", _read_complexity),
            explanation=_optional(folder / "explain" / FILE, Explanation.read),
            merging=_optional(folder / "explain" / MERGING_FILE, MergingComparison.read),
            early_exit=_optional(folder / "explain" / EARLY_EXIT_FILE, EarlyExit.read),
            passport=_optional(folder / "passport.json", _read_results_passport),
            categories=browsed.categories if browsed else described,
        )


def read_table(path: Path, columns: Sequence[str] = ()) -> Table:
    """Read a CSV file of numbers with a header; values may be empty, and so may the table.

    Raises `DatasetError` for a missing one of `columns`, a row of another length, or a value that is no number.
    """
    try:
        rows = list(csv.reader(io.StringIO(read_text(path), newline="")))
    except csv.Error as error:  # of values longer than any number
        raise DatasetError(f"{path}: is no table ({error}); write it again") from None
    head, *body = rows or [[]]
    if missing := [column for column in columns if column not in head]:
        raise DatasetError(f"{path}: has no column {', '.join(missing)}; write it again")
    for number, row in enumerate(body, start=2):
        if len(row) != len(head):
            raise DatasetError(f"{path}: line {number} has {len(row)} values, expected {len(head)}; write it again")
        for value in row:
            try:
                float(value or "nan")
            except ValueError:
                raise DatasetError(f"{path}: line {number}: {value!r:.40} is no number; write it again") from None
    return {name: [row[index] for row in body] for index, name in enumerate(head)}


def _optional(path: Path, read: Callable[[Path], T]) -> T | None:
    """Read a file that a run may lack; a link that leads nowhere is an error."""
    return read(path) if os.path.lexists(path) else None


def _read_complexity(path: Path) -> tuple[ComplexityRow, ...]:
    rows = JsonObject({"rows": load_json(path)}, str(path)).objects("rows")
    return tuple(
        ComplexityRow(
            name=row.text("name"),
            title=row.text("title"),
            parameters=row.integer("parameters"),
            gmacs=row.number("gmacs_full"),
            size=" x ".join(map(str, row.integers("size"))),
            latencies=tuple(map(_latency, row.objects("measurements"))),
        )
        for row in rows
    )


def _latency(entry: JsonObject) -> Latency:
    size = f"{entry.integer('width')} x {entry.integer('height')}"
    return Latency(size, entry.text("device"), entry.number("median_ms"), entry.optional_number("memory_mib"))


def _read_results_passport(path: Path) -> Passport:
    passport = read_passport(path)
    if passport.type != "results":
        raise DatasetError(
            f"{path}: is a passport of {passport.type}, expected one of results; run `dvc repro passport`"
        )
    return passport


def _read_categories(path: Path) -> CategoryTable:
    return CategoryTable.from_json(read_json(path).values.get("categories"), str(path))
