"""Paired differences between the scores of two runs, from their counts by image.

Both have to be scored on the same images against the same ground truth: `compare` refuses others and says what differs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from panoptic.evaluation.bootstrap import Interval, paired_intervals
from panoptic.evaluation.scores import (
    METRICS,
    PQ,
    ClassQuality,
    CountMetric,
    Counts,
    ImageCounts,
    Scores,
    image_pq,
)
from panoptic.format.categories import CategoryTable
from panoptic.io.errors import DatasetError, shown_ids
from panoptic.io.json_fields import JsonObject, read_json
from panoptic.report.scores import entries_by_id

RESAMPLES = 1000
_LARGEST_COUNT = 2**53  # above which sums are not exact
_AGAIN = "score both runs on the same images with `panoptic evaluate --per-image`"


@dataclass(frozen=True)
class Difference:
    """A score of another run minus that of the first; fractions of 1, None where one of them is not known."""

    value: float | None
    interval: Interval | None = None

    @classmethod
    def of(cls, other: float | None, first: float | None, interval: Interval | None = None) -> "Difference":
        """Subtract the score of the first run from that of another."""
        return cls(None if other is None or first is None else other - first, interval)

    @property
    def verdict(self) -> str:
        """`higher` or `lower` where the interval excludes 0, else empty: the runs cannot be told apart."""
        if self.value is None or self.interval is None or not self.interval.excludes_zero:
            return ""
        return "higher" if self.interval.low > 0 else "lower"


@dataclass(frozen=True)
class CountedRun:
    """The counts of a run, by image."""

    path: Path
    images: Mapping[str, ImageCounts]

    @classmethod
    def read(cls, path: Path) -> "CountedRun":
        """Read `per_image.json`. Raises `DatasetError` naming what is missing or damaged."""
        document = read_json(path)
        images = {key: _read_image(document.child(key)) for key in document.values}
        if not images:
            raise DatasetError(f"{path}: has no image; {_AGAIN}")
        return cls(path, images)

    @property
    def metrics(self) -> tuple[CountMetric, ...]:
        """The metrics that every image has counts of."""
        return tuple(metric for metric in METRICS if all(metric.name in image for image in self.images.values()))

    def scores(self, categories: CategoryTable, metrics: Sequence[CountMetric]) -> Scores:
        """Add up the counts of all images. Raises `DatasetError` for a class that is not in the table."""
        sums: dict[str, dict[int, Counts]] = {
            metric.name: {category.id: metric.zero for category in categories} for metric in metrics
        }
        for key, image in self.images.items():
            for metric in metrics:
                for category_id, counts in image[metric.name].items():
                    if category_id not in categories:
                        raise DatasetError(
                            f"{self.path}: {key}: class {category_id} is in no list of classes; {_AGAIN}"
                        )
                    sums[metric.name][category_id] += counts
        return Scores(categories, tuple(metrics), sums)

    @cached_property
    def image_pq(self) -> dict[str, float | None]:
        """PQ within each image: the mean over the classes that occur in it."""
        return {key: image_pq(image) for key, image in self.images.items()}


@dataclass(frozen=True)
class PairedScores:
    """Everything in which a run differs from the first.

    Attributes:
        groups: by name of the average and group of classes.
        classes: of PQ, by category id.
        images: of PQ within an image, by image id; those in which it is known in both.
    """

    groups: Mapping[str, Mapping[str, Difference]]
    classes: Mapping[int, Difference]
    images: Mapping[str, float]


def compare(first: CountedRun, other: CountedRun, categories: CategoryTable) -> PairedScores:
    """Subtract the scores of the first run from those of the other one. Raises `DatasetError` if they do not pair."""
    _require_same_ground_truth(first, other)
    metrics = [metric for metric in first.metrics if metric in other.metrics]
    before, after = (run.scores(categories, metrics) for run in (first, other))
    ordered, others = ([run.images[key] for key in first.images] for run in (first, other))
    limits = paired_intervals(ordered, others, metrics, categories, RESAMPLES)
    groups = {
        name: {
            group: Difference.of(value, before.average(name, group), limits.groups[name][group])
            for group, value in averages.items()
        }
        for metric in metrics
        for name, averages in after.averages(metric).items()
    }
    pq = [scores.per_class(PQ) for scores in (before, after)]
    classes = {key: Difference.of(pq[1][key]["pq"], pq[0][key]["pq"], limits.classes["pq"][key]) for key in pq[0]}
    found = [run.image_pq for run in (first, other)]
    images = {key: Difference.of(found[1][key], value).value for key, value in found[0].items()}
    return PairedScores(groups, classes, {key: value for key, value in images.items() if value is not None})


def _read_image(entry: JsonObject) -> ImageCounts:
    """Read the counts of every metric that lists them: the inverse of `per_image_to_json`."""
    found = {}
    for metric in METRICS:
        if metric.lists_counts and (not metric.section or entry.has(metric.section)):
            classes = (entry.child(metric.section) if metric.section else entry).child("classes")
            found[metric.name] = {
                category_id: _read_counts(metric.zero, counts) for category_id, counts in entries_by_id(classes)
            }
    return found


def _read_counts(zero: Counts, entry: JsonObject) -> Counts:
    counts = [entry.number(name) for name in zero.names()]
    if not all(0 <= count <= _LARGEST_COUNT for count in counts):
        raise DatasetError(f"{entry.where}: has a negative or enormous count; {_AGAIN}")
    return type(zero)(*counts)


def _require_same_ground_truth(first: CountedRun, other: CountedRun) -> None:
    for run, without in ((first, other), (other, first)):
        if alone := [key for key in run.images if key not in without.images]:
            raise DatasetError(
                f"{without.path}: lacks {len(alone)} of the {len(run.images)} images of {run.path} "
                f"(image ids {shown_ids(alone, 3)}); {_AGAIN}"
            )
    for key, image in first.images.items():
        segments, others = (_segments(counted[PQ.name]) for counted in (image, other.images[key]))
        if segments != others:
            class_id = min(one for one in segments.keys() | others.keys() if segments.get(one) != others.get(one))
            raise DatasetError(
                f"{other.path}: image {key} has another ground truth than in {first.path}: {others.get(class_id, 0)} "
                f"segments of class {class_id}, there {segments.get(class_id, 0)}; {_AGAIN}"
            )


def _segments(classes: Mapping[int, Counts]) -> dict[int, int]:
    """Count the segments of the ground truth, by category id: those found, and those missed."""
    counts = {key: found.tp + found.fn for key, found in classes.items() if isinstance(found, ClassQuality)}
    return {key: count for key, count in counts.items() if count}
