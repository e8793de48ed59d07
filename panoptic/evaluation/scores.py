"""Metrics that are counted by class in every image and add up: PQ, boundary PQ and mIoU.

`METRICS` declares all of them. A metric added there appears in the averages (also those under corruption), in the
tables by class and image, in the confidence intervals and in the printed table without any other change.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import add, attrgetter
from typing import Self

import numpy as np
from numpy.typing import NDArray

from panoptic.evaluation.image import ImageEvaluation, ScoringSettings
from panoptic.evaluation.panoptic_quality import Matching
from panoptic.format.categories import CategoryTable

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of one class, in an image or a dataset, that add up field by field. The fields are a subclass's."""

    def __add__(self, other: Self) -> Self:
        values = _getter(self.__match_args__)
        return type(self)(*map(add, values(self), values(other)))

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of the fields."""
        return cls.__match_args__


@cache
def _getter(names: tuple[str, ...]) -> Callable[[Counts], tuple[float, ...]]:
    """Get all fields at once, which is the quickest way to add dataclasses with any fields."""
    return attrgetter(*names)


ImageCounts = Mapping[str, Mapping[int, Counts]]
"""The counts of one image, by name of the metric and category id, for the classes that occur in it."""


@dataclass(frozen=True)
class CountMetric:
    """A metric that is counted by class in every image, added up, and averaged over the classes that occur.

    Attributes:
        name: its key in `ImageCounts`.
        zero: the counts of a class that does not occur.
        count: counts one image.
        values: from arrays of counts by field, all of one shape, the values by name; NaN where a class does not occur.
        titles: of the averages, in the order of the values; in lower case, with `_`, their names in metrics.json.
        by_group: averaged over things and over stuff too, in columns of the printed table.
        section: the key under which it stands in the tables by class and image; empty for their top level.
        lists_counts: its counts, not only its values, are in these tables.
        needs_bands: left out where the boundary ratio is 0.
    """

    name: str
    zero: Counts
    count: Callable[[ImageEvaluation], Mapping[int, Counts]]
    values: Callable[[Mapping[str, Array]], dict[str, Array]]
    titles: tuple[str, ...]
    by_group: bool = True
    section: str = ""
    lists_counts: bool = True
    needs_bands: bool = False

    @property
    def averages(self) -> tuple[str, ...]:
        """The names of the averages, such as `boundary_pq`."""
        return tuple(title.lower().replace(" ", "_") for title in self.titles)

    def values_of(self, counts: Sequence[Counts]) -> dict[str, list[float | None]]:
        """The values by name, one for each of the counts; None where a class does not occur."""
        columns = {name: np.array([getattr(entry, name) for entry in counts], np.float64) for name in self.zero.names()}
        return {
            name: [None if np.isnan(value) else value for value in values.tolist()]
            for name, values in self.values(columns).items()
        }


@dataclass(frozen=True, slots=True)
class ClassQuality(Counts):
    """The counts of PQ, for one class."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    iou_sum: float = 0.0

    @property
    def size(self) -> float:
        """The denominator of PQ, 0 if the class does not occur."""
        return self.tp + self.fp / 2 + self.fn / 2

    @property
    def pq(self) -> float | None:
        """A fraction of 1; None if the class does not occur."""
        return self.iou_sum / self.size if self.size else None


def count_by_class(matching: Matching) -> dict[int, ClassQuality]:
    """Count one image for PQ, by category id, for the classes that occur in it."""
    tp = Counter(match.category_id for match in matching.matches)
    fp = Counter(segment.category_id for segment in matching.false_positives)
    fn = Counter(segment.category_id for segment in matching.false_negatives)
    iou_sums: dict[int, float] = defaultdict(float)
    for match in matching.matches:
        iou_sums[match.category_id] += match.iou
    occurring = sorted(tp.keys() | fp.keys() | fn.keys())
    return {key: ClassQuality(tp[key], fp[key], fn[key], iou_sums[key]) for key in occurring}


def _qualities(counts: Mapping[str, Array]) -> dict[str, Array]:
    tp, size = counts["tp"], counts["tp"] + counts["fp"] / 2 + counts["fn"] / 2
    # Without a match SQ is 0, not unknown, if the class occurs.
    sq = ratio(counts["iou_sum"], np.where(tp > 0, tp, size))
    return {"pq": ratio(counts["iou_sum"], size), "sq": sq, "rq": ratio(tp, size)}


@dataclass(frozen=True, slots=True)
class SemanticCount(Counts):
    """Pixels of one class in both semantic maps, and in either; void of the ground truth is in neither."""

    intersection: int = 0
    union: int = 0


def count_semantic(evaluation: ImageEvaluation) -> dict[int, SemanticCount]:
    """Count one image for mIoU. Crowd counts as its class; a labeled pixel predicted as void counts as missed."""
    gt_class = {segment.id: segment.category_id for segment in evaluation.ground_truth.segments}
    predicted_class = {segment.id: segment.category_id for segment in evaluation.prediction.segments}
    intersection, union = Counter[int](), Counter[int]()
    overlaps = evaluation.overlaps
    columns = (overlaps.gt_ids, overlaps.prediction_ids, overlaps.pixels)
    for gt_id, prediction_id, pixels in zip(*(column.tolist() for column in columns), strict=True):
        gt, predicted = gt_class.get(gt_id), predicted_class.get(prediction_id)
        if gt is None:
            continue
        union[gt] += pixels
        if predicted == gt:
            intersection[gt] += pixels
        elif predicted is not None:
            union[predicted] += pixels
    return {key: SemanticCount(intersection[key], union[key]) for key in sorted(union)}


PQ = CountMetric(
    "pq",
    ClassQuality(),
    lambda evaluation: count_by_class(evaluation.matching),
    _qualities,
    titles=("PQ", "SQ", "RQ"),
)
METRICS = (
    PQ,
    CountMetric(
        "boundary_pq",
        ClassQuality(),
        lambda evaluation: count_by_class(evaluation.boundary_matching),
        _qualities,
        titles=("boundary PQ", "boundary SQ", "boundary RQ"),
        section="boundary",
        needs_bands=True,
    ),
    CountMetric(
        "miou",
        SemanticCount(),
        count_semantic,
        lambda counts: {"iou": ratio(counts["intersection"], counts["union"])},
        titles=("mIoU",),
        by_group=False,
        lists_counts=False,
    ),
)


def chosen_metrics(settings: ScoringSettings) -> tuple[CountMetric, ...]:
    """The metrics that the settings ask for."""
    return tuple(metric for metric in METRICS if settings.boundary_ratio or not metric.needs_bands)


def count_image(evaluation: ImageEvaluation) -> ImageCounts:
    """Count one image for every metric that its settings ask for."""
    return {metric.name: metric.count(evaluation) for metric in chosen_metrics(evaluation.settings)}


@dataclass(frozen=True)
class Scores:
    """The sums over a dataset: by name of the metric, those of every category of the table, by id."""

    categories: CategoryTable
    metrics: tuple[CountMetric, ...]
    sums: Mapping[str, Mapping[int, Counts]]

    def per_class(self, metric: CountMetric) -> dict[int, dict[str, float | None]]:
        """The values of every category by its id, fractions of 1; None for a class that does not occur."""
        sums = self.sums[metric.name]
        values = metric.values_of(list(sums.values()))
        return {key: {name: column[row] for name, column in values.items()} for row, key in enumerate(sums)}

    def averages(self, metric: CountMetric) -> dict[str, dict[str, float | None]]:
        """Averages by name and group of classes, over the classes that occur; None where none does."""
        values = metric.values_of(list(self.sums[metric.name].values()))
        groups = class_groups(self.categories)
        return {
            name: {group: mean_of_known(column[members]) for group, members in groups.items()}
            for name, column in zip(metric.averages, values.values(), strict=True)
        }

    @property
    def classes(self) -> dict[str, int]:
        """The number of classes that occur, by group."""
        occurs = [any(value is not None for value in row.values()) for row in self.per_class(self.metrics[0]).values()]
        return {group: sum(occurs[members]) for group, members in class_groups(self.categories).items()}

    def average(self, name: str, group: str = "all") -> float | None:
        """One average, such as `boundary_pq` of `things`. Raises `KeyError` for one that was not counted."""
        return {key: value for metric in self.metrics for key, value in self.averages(metric).items()}[name][group]


class ScoreCounter:
    """Adds up the counts of images. The order of images is the order of summation."""

    def __init__(self, categories: CategoryTable, settings: ScoringSettings) -> None:
        self._categories = categories
        self._metrics = chosen_metrics(settings)
        self._sums = {metric.name: {category.id: metric.zero for category in categories} for metric in self._metrics}

    def add(self, counts: ImageCounts) -> None:
        """Add the counts of one image."""
        for name, sums in self._sums.items():
            for category_id, count in counts[name].items():
                sums[category_id] += count

    def result(self) -> Scores:
        """The sums over all images added so far."""
        return Scores(self._categories, self._metrics, {name: dict(sums) for name, sums in self._sums.items()})


def class_groups(categories: CategoryTable) -> dict[str, slice]:
    """The groups that are averaged over, as ranges of the table's order."""
    things, everything = len(categories.things), len(categories)
    return {"all": slice(0, everything), "things": slice(0, things), "stuff": slice(things, everything)}


def mean_of_known(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are not None; None if all are."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def image_pq(counts: ImageCounts) -> float | None:
    """PQ within an image: the mean over the classes that occur in it; None if none does."""
    return mean_of_known(PQ.values_of(list(counts[PQ.name].values()))["pq"])


def ratio(parts: Array, wholes: NDArray[np.float64 | np.int64]) -> Array:
    """Elementwise quotient; NaN where the whole is 0."""
    with np.errstate(invalid="ignore"):
        ratios: Array = parts / wholes
    return ratios
