"""The scores of a run: averages with their intervals, by class, and the error breakdown."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from panoptic.io.errors import DatasetError
from panoptic.io.json_fields import JsonObject, is_number, read_json
from panoptic.robustness.summary import CLASS_GROUPS
from panoptic.runtime.settings import flat_settings


@dataclass(frozen=True)
class Score:
    """A fraction of 1 and the limits of its 95 % interval; None where they are not known."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ClassScores:
    """The scores of a class; fractions of 1, None where the class does not occur or a metric was not computed."""

    id: int
    name: str
    tp: int
    fp: int
    fn: int
    pq: float | None
    sq: float | None
    rq: float | None
    boundary_pq: float | None
    iou: float | None


@dataclass(frozen=True)
class Breakdown:
    """The error breakdown of a group of classes, or of one class; fractions of 1."""

    pq: float | None
    pq_loss: Mapping[str, float | None]
    oracle: Mapping[str, float | None]


def read_scores(path: Path) -> dict[str, Score]:
    """Read the averages by full name. Raises `DatasetError` for what is neither a number nor null."""
    flat: dict[str, float | None] = {}
    for name, value in flat_settings(dict(read_json(path).values)):
        if value is not None and not is_number(value):
            raise DatasetError(f"{path}: '{name}' should be a finite number or null, found {value!r:.60}; score again")
        flat[name] = value
    found = {}
    for name, value in flat.items():
        interval = f"intervals.{name}" if "." in name else f"intervals.{name}.all"
        if not name.startswith("intervals."):
            found[name] = Score(value, flat.get(f"{interval}.low"), flat.get(f"{interval}.high"))
    return found


def read_classes(path: Path) -> tuple[ClassScores, ...]:
    """Read the scores of every class, in their order."""
    return tuple(_class_scores(*entry) for entry in entries_by_id(read_json(path)))


def _class_scores(category_id: int, entry: JsonObject) -> ClassScores:
    boundary = entry.child("boundary") if entry.has("boundary") else None
    return ClassScores(
        id=category_id,
        name=entry.text("name"),
        tp=entry.integer("tp"),
        fp=entry.integer("fp"),
        fn=entry.integer("fn"),
        pq=entry.optional_number("pq"),
        sq=entry.optional_number("sq"),
        rq=entry.optional_number("rq"),
        boundary_pq=boundary.optional_number("pq") if boundary else None,
        iou=entry.optional_number("iou"),
    )


def entries_by_id(document: JsonObject) -> Iterator[tuple[int, JsonObject]]:
    """Yield the entries of an object whose keys are category ids in decimal."""
    for key in document.values:
        try:
            category_id = int(key)
        except ValueError:
            raise DatasetError(f"{document.where}: {key!r:.40} is no category id; score again") from None
        yield category_id, document.child(key)


def read_breakdown(path: Path) -> dict[str, Breakdown]:
    """Read the breakdown of every group of classes by name, and of every class by its id in decimal."""
    document = read_json(path)
    classes = document.child("classes")
    entries = {group: document.child(group) for group in CLASS_GROUPS}
    entries |= {key: classes.child(key) for key in classes.values}
    return {
        name: Breakdown(entry.optional_number("pq"), _numbers(entry.child("pq_loss")), _numbers(entry.child("oracle")))
        for name, entry in entries.items()
    }


def _numbers(entry: JsonObject) -> dict[str, float | None]:
    return {key: entry.optional_number(key) for key in entry.values}
