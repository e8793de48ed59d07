"""A case, and the scores of a tool.

Scores are exact fractions where `conformance.brute_force` computed them, and floats where a tool did.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

GROUPS = ("all", "things", "stuff")
Grid = tuple[tuple[int, ...], ...]
Number = Fraction | float


@dataclass(frozen=True)
class Category:
    """A class; every case lists those that it uses and, where it matters, more."""

    id: int
    name: str
    is_thing: bool


@dataclass(frozen=True)
class Segment:
    """An entry of `segments_info`; `area` is what the JSON claims, and predictions have none."""

    id: int
    category_id: int
    is_crowd: bool = False
    area: int | None = None


@dataclass(frozen=True)
class Side:
    """An id map and the segments listed for it: the ground truth, or the prediction, of an image."""

    ids: Grid
    segments: tuple[Segment, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return len(self.ids), len(self.ids[0])


@dataclass(frozen=True)
class Image:
    """An image; a tool must refuse one without prediction."""

    id: int | str
    ground_truth: Side
    prediction: Side | None


@dataclass(frozen=True)
class Case:
    """A data set of one or a few tiny images, which tests one rule of README.md."""

    topic: str
    name: str
    purpose: str
    rule: str
    categories: tuple[Category, ...]
    images: tuple[Image, ...]
    boundary_ratio: Fraction = Fraction(1, 50)

    @property
    def path(self) -> str:
        """Name of the case among all."""
        return f"{self.topic}/{self.name}"


@dataclass(frozen=True)
class Quality:
    """The scores of a class; numbers that a tool does not report are None."""

    tp: int | None
    fp: int | None
    fn: int | None
    iou_sum: Number | None
    pq: Number
    sq: Number
    rq: Number

    @classmethod
    def of(cls, tp: int, fp: int, fn: int, iou_sum: Number) -> "Quality":
        """The scores that follow from the counts of a class that occurs."""
        size = tp + Fraction(fp + fn, 2)
        return cls(tp, fp, fn, iou_sum, iou_sum / size, iou_sum / tp if tp else Fraction(0), tp / size)


@dataclass(frozen=True)
class Mean:
    """Averages over the classes of a group that occur."""

    pq: Number
    sq: Number
    rq: Number


@dataclass(frozen=True)
class Scores:
    """PQ or boundary PQ: by category id, without classes that do not occur, and by group; None for an empty group."""

    classes: Mapping[int, Quality]
    means: Mapping[str, Mean | None]

    @classmethod
    def of(cls, classes: Mapping[int, Quality], categories: Iterable[Category]) -> "Scores":
        """Average the classes that occur."""
        kinds = {category.id: category.is_thing for category in categories}
        members = {
            "all": list(classes.values()),
            "things": [quality for key, quality in classes.items() if kinds[key]],
            "stuff": [quality for key, quality in classes.items() if not kinds[key]],
        }
        return cls(classes, {group: _mean(found) for group, found in members.items()})


def _mean(found: list[Quality]) -> Mean | None:
    if not found:
        return None
    pq, sq, rq = (sum(values) / len(found) for values in zip(*((q.pq, q.sq, q.rq) for q in found), strict=True))
    return Mean(pq, sq, rq)


@dataclass(frozen=True)
class Bands:
    """The band of boundary PQ in one image: its width, and its pixels in every segment, by id."""

    distance: int
    ground_truth: Mapping[int, int]
    prediction: Mapping[int, int]


@dataclass(frozen=True)
class Expected:
    """What a tool must find: the scores, or, with `refused`, that the input is wrong and why."""

    pq: Scores | None = None
    boundary_pq: Scores | None = None
    bands: tuple[Bands, ...] = ()
    refused: str = ""


@dataclass(frozen=True)
class Entry:
    """A case with its expected scores; `variants` has those by the rules of a public tool, where they differ."""

    case: Case
    expected: Expected
    variants: Mapping[str, Expected] = field(default_factory=dict)
