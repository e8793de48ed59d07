"""Confidence intervals of scores by the percentile bootstrap over pictures (Efron, 1979).

Pictures are drawn anew with replacement, and what they add up to is averaged over classes as the score itself is. So
the intervals tell how much the choice of pictures matters, not how much a second training would differ. AP has none:
its ranking of all instances would have to be made again for each draw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic.categories import CategoryTable
from panoptic.quality import ClassQuality
from panoptic.scoring import PictureScore

_DRAWS_AT_ONCE = 50  # bounds the memory

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """Limits of a score, fractions of 1."""

    low: float
    high: float


Intervals = dict[str, dict[str, Interval | None]]


def bootstrap_intervals(
    scores: Sequence[PictureScore],
    categories: CategoryTable,
    draws: int = 1000,
    seed: int = 0,
    boundaries: bool = True,
    level: float = 0.95,
) -> Intervals:
    """Intervals of `pq`, `sq`, `rq`, `boundary_*` and `miou` for the groups `all`, `things` and `stuff`.

    None where a group occurs in none of the draws. Equal seeds give equal intervals.
    """
    columns = {category.id: position for position, category in enumerate(categories)}
    groups = {
        "all": slice(0, len(categories)),
        "things": slice(0, len(categories.things)),
        "stuff": slice(len(categories.things), len(categories)),
    }
    tables = {"": _quality_table([score.masks for score in scores], columns)}
    if boundaries:
        tables["boundary_"] = _quality_table([score.boundaries for score in scores], columns)
    semantic = _semantic_table(scores, columns)
    rng = np.random.default_rng(seed)
    chances = np.full(len(scores), 1 / len(scores))
    found: dict[tuple[str, str], list[Array]] = {}
    for first in range(0, draws, _DRAWS_AT_ONCE):
        weights = rng.multinomial(len(scores), chances, size=min(_DRAWS_AT_ONCE, draws - first)).astype(np.float64)
        by_class = {"miou": _miou(_weighted(weights, semantic))}
        for prefix, table in tables.items():
            by_class |= {prefix + name: values for name, values in _qualities(_weighted(weights, table)).items()}
        for name, values in by_class.items():
            for group, members in groups.items():
                found.setdefault((name, group), []).append(_mean_of_present(values[:, members]))
    intervals: Intervals = {}
    for (name, group), parts in found.items():
        intervals.setdefault(name, {})[group] = _limits(np.concatenate(parts), level)
    return intervals


def _quality_table(pictures: Sequence[Mapping[int, ClassQuality]], columns: Mapping[int, int]) -> Array:
    """(pictures, classes, 4): tp, fp, fn, sum of IoUs."""
    table = np.zeros((len(pictures), len(columns), 4))
    for row, counts in enumerate(pictures):
        for category_id, count in counts.items():
            table[row, columns[category_id]] = count.tp, count.fp, count.fn, count.iou_sum
    return table


def _semantic_table(scores: Sequence[PictureScore], columns: Mapping[int, int]) -> Array:
    """(pictures, classes, 2): intersection, union."""
    table = np.zeros((len(scores), len(columns), 2))
    for row, score in enumerate(scores):
        for category_id, count in score.semantic.items():
            table[row, columns[category_id]] = count.intersection, count.union
    return table


def _weighted(weights: Array, table: Array) -> Array:
    """Sums over pictures, (draws, classes, counts)."""
    pictures, classes, counts = table.shape
    sums: Array = (weights @ table.reshape(pictures, -1)).reshape(-1, classes, counts)
    return sums


def _qualities(sums: Array) -> dict[str, Array]:
    """PQ, SQ and RQ, (draws, classes), NaN where a class does not occur."""
    tp, fp, fn, iou_sum = np.moveaxis(sums, -1, 0)
    size = tp + fp / 2 + fn / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        sq = np.where(tp > 0, iou_sum / tp, np.where(size > 0, 0.0, np.nan))
        return {"pq": iou_sum / size, "sq": sq, "rq": tp / size}


def _miou(sums: Array) -> Array:
    with np.errstate(invalid="ignore"):
        iou: Array = sums[..., 0] / sums[..., 1]
    return iou


def _mean_of_present(values: Array) -> Array:
    """Mean over the classes that occur, (draws,); NaN where none does."""
    present = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        means: Array = np.where(present, values, 0.0).sum(axis=1) / present.sum(axis=1)
    return means


def _limits(values: Array, level: float) -> Interval | None:
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Interval(low, high)
