"""Confidence intervals of scores by the percentile bootstrap over images (Efron, 1979).

Images are resampled with replacement, and their sums are averaged over classes just as the scores are. So the intervals
show how much the choice of images matters, not how much a second training would differ. AP has none, because the
ranking of all instances would have to be repeated for every resample.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic.evaluation.scores import Array, CountMetric, ImageCounts, class_groups, ratio
from panoptic.format.categories import CategoryTable

_RESAMPLES_AT_ONCE = 50  # bounds the memory


@dataclass(frozen=True, slots=True)
class Interval:
    """Limits of a score, fractions of 1."""

    low: float
    high: float


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
    columns = [(metric, name) for metric in metrics for name in metric.zero.names()]
    tables = [_table(images, columns, category.id) for category in categories]
    rng = np.random.default_rng(seed)
    found: dict[str, dict[str, list[Array]]] = defaultdict(lambda: defaultdict(list))
    for first in range(0, resamples, _RESAMPLES_AT_ONCE):
        weights = _weights(rng, min(_RESAMPLES_AT_ONCE, resamples - first), len(images))
        sums = np.stack([weights[:, table.images] @ table.counts for table in tables], axis=1)
        for metric in metrics:
            own = {name: sums[..., number] for number, (owner, name) in enumerate(columns) if owner is metric}
            for name, by_class in zip(metric.averages, metric.values(own).values(), strict=True):
                for group, members in class_groups(categories).items():
                    found[name][group].append(_mean_of_present(by_class[:, members]))
    return {
        name: {group: _limits(np.concatenate(parts), level) for group, parts in by_group.items()}
        for name, by_group in found.items()
    }


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


def _weights(rng: np.random.Generator, resamples: int, images: int) -> Array:
    """Count how often each image is in each resample, (resamples, images)."""
    counts = [np.bincount(rng.integers(images, size=images), minlength=images) for _ in range(resamples)]
    return np.stack(counts).astype(np.float64)


def _mean_of_present(values: Array) -> Array:
    """Mean over the classes that occur, (resamples,); NaN where none does."""
    present = ~np.isnan(values)
    return ratio(np.where(present, values, 0.0).sum(axis=1), present.sum(axis=1))


def _limits(values: Array, level: float) -> Interval | None:
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Interval(low, high)
