"""Confidence intervals of scores by the percentile bootstrap over images (Efron, 1979).

Images are resampled with replacement, and their sums are averaged over classes just as the scores are. So the intervals
show how much the choice of images matters, not how much a second training would differ. AP has none, because the
ranking of all instances would have to be repeated for every resample.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from panoptic.evaluation.scores import Array, CountMetric, ImageCounts, class_groups, ratio
from panoptic.format.categories import CategoryTable

Key = TypeVar("Key", str, int)
_RESAMPLES_AT_ONCE = 50  # bounds the memory


@dataclass(frozen=True, slots=True)
class Interval:
    """Limits of a score, fractions of 1."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """True if all of a difference's interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


Intervals = dict[str, dict[str, Interval | None]]


def bootstrap_intervals(
    images: Sequence[ImageCounts],
    metrics: Sequence[CountMetric],
    categories: CategoryTable,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Intervals:
    """Intervals of every average of `metrics`, by its name, for the groups `all`, `things` and `stuff`.

    None where a group occurs in none of the resamples. Equal seeds give equal intervals.
    """
    found: dict[str, dict[str, list[Array]]] = defaultdict(lambda: defaultdict(list))
    for values in _resampled(images, metrics, categories, resamples, seed):
        for name, by_class in values.items():
            for group, members in class_groups(categories).items():
                found[name][group].append(_mean_of_present(by_class[:, members]))
    return _intervals(found, level)


@dataclass(frozen=True)
class PairedIntervals:
    """Intervals of the differences between two results on the same images, by name of the average.

    Attributes:
        groups: by group of classes.
        classes: by category id.
    """

    groups: Intervals
    classes: Mapping[str, Mapping[int, Interval | None]]


def paired_intervals(
    first: Sequence[ImageCounts],
    second: Sequence[ImageCounts],
    metrics: Sequence[CountMetric],
    categories: CategoryTable,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> PairedIntervals:
    """Intervals of the averages of `second` minus those of `first`, which count the same images in the same order.

    Every resample draws the same images of both. So how hard they are cancels out, and the intervals are narrower than
    those of either result suggest (Koehn, EMNLP 2004).
    """
    assert len(first) == len(second)
    groups: dict[str, dict[str, list[Array]]] = defaultdict(lambda: defaultdict(list))
    classes: dict[str, dict[int, list[Array]]] = defaultdict(lambda: defaultdict(list))
    resampled = (_resampled(images, metrics, categories, resamples, seed) for images in (first, second))
    for before, after in zip(*resampled, strict=True):
        for name, by_class in after.items():
            for category, values in zip(categories, (by_class - before[name]).T, strict=True):
                classes[name][category.id].append(values)
            for group, members in class_groups(categories).items():
                means = (_mean_of_present(values[:, members]) for values in (by_class, before[name]))
                groups[name][group].append(np.subtract(*means))
    return PairedIntervals(_intervals(groups, level), _intervals(classes, level))


def resampled_averages(
    images: Sequence[ImageCounts], metric: CountMetric, categories: CategoryTable, resamples: int = 1000, seed: int = 0
) -> Array:
    """Return the first average of a metric over all classes on resampled images, (resamples,).

    Results on the same images in the same order are counted on the same resamples.
    """
    name = metric.averages[0]
    parts = _resampled(images, [metric], categories, resamples, seed)
    return np.concatenate([_mean_of_present(values[name]) for values in parts])


def _resampled(
    images: Sequence[ImageCounts],
    metrics: Sequence[CountMetric],
    categories: CategoryTable,
    resamples: int,
    seed: int,
) -> Iterator[Mapping[str, Array]]:
    """Yield some of the resamples at a time: the values of every class, (resamples, classes), by name of the average.

    Which images a resample draws depends on their number and the seed alone.
    """
    columns = [(metric, name) for metric in metrics for name in metric.zero.names()]
    tables = [_table(images, columns, category.id) for category in categories]
    rng = np.random.default_rng(seed)
    for first in range(0, resamples, _RESAMPLES_AT_ONCE):
        weights = image_weights(rng, min(_RESAMPLES_AT_ONCE, resamples - first), len(images))
        sums = np.stack([weights[:, table.images] @ table.counts for table in tables], axis=1)
        values: dict[str, Array] = {}
        for metric in metrics:
            own = {name: sums[..., number] for number, (owner, name) in enumerate(columns) if owner is metric}
            values |= zip(metric.averages, metric.values(own).values(), strict=True)
        yield values


@dataclass(frozen=True)
class _Table:
    """The positions (N,) of the images that a class occurs in, and its counts in each, (N, columns)."""

    images: NDArray[np.intp]
    counts: Array


def _table(images: Sequence[ImageCounts], columns: Sequence[tuple[CountMetric, str]], category_id: int) -> _Table:
    occurring = [
        position for position, counts in enumerate(images) if any(category_id in found for found in counts.values())
    ]
    rows = [
        [getattr(images[position][metric.name].get(category_id, metric.zero), name) for metric, name in columns]
        for position in occurring
    ]
    return _Table(np.array(occurring, np.intp), np.array(rows, np.float64).reshape(-1, len(columns)))


def image_weights(rng: np.random.Generator, resamples: int, images: int) -> Array:
    """Count how often each image is in each resample, (resamples, images)."""
    counts = [np.bincount(rng.integers(images, size=images), minlength=images) for _ in range(resamples)]
    return np.stack(counts).astype(np.float64)


def _mean_of_present(values: Array) -> Array:
    """Mean over the classes that occur, (resamples,); NaN where none does."""
    present = ~np.isnan(values)
    return ratio(np.where(present, values, 0.0).sum(axis=1), present.sum(axis=1))


def _intervals(
    found: Mapping[str, Mapping[Key, Sequence[Array]]], level: float
) -> dict[str, dict[Key, Interval | None]]:
    return {
        name: {key: limits(np.concatenate(parts), level) for key, parts in by_key.items()}
        for name, by_key in found.items()
    }


def limits(values: Array, level: float = 0.95) -> Interval | None:
    """Percentiles of the values that are known; None if there are none."""
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Interval(low, high)
