"""Confidence intervals of scores by the percentile bootstrap over images (Efron, 1979).

Images are drawn anew with replacement, and what they add up to is averaged over classes as the score itself is. So
the intervals tell how much the choice of images matters, not how much a second training would differ. AP has none:
its ranking of all instances would have to be made again for each draw.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic.evaluation.panoptic_quality import ClassQuality
from panoptic.evaluation.scores import ImageScore, SemanticCount
from panoptic.format.categories import CategoryTable

_DRAWS_AT_ONCE = 50  # bounds the memory

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """Limits of a score, fractions of 1."""

    low: float
    high: float


Intervals = dict[str, dict[str, Interval | None]]


def bootstrap_intervals(
    scores: Sequence[ImageScore],
    categories: CategoryTable,
    draws: int = 1000,
    seed: int = 0,
    boundaries: bool = True,
    level: float = 0.95,
) -> Intervals:
    """Intervals of `pq`, `sq`, `rq`, `boundary_*` and `miou` for the groups `all`, `things` and `stuff`.

    None where a group occurs in none of the draws. Equal seeds give equal intervals.
    """
    groups = {
        "all": slice(0, len(categories)),
        "things": slice(0, len(categories.things)),
        "stuff": slice(len(categories.things), len(categories)),
    }
    tables = [_table(scores, category.id) for category in categories]
    rng = np.random.default_rng(seed)
    found: dict[str, dict[str, list[Array]]] = defaultdict(lambda: defaultdict(list))
    for first in range(0, draws, _DRAWS_AT_ONCE):
        weights = _weights(rng, min(_DRAWS_AT_ONCE, draws - first), len(scores))
        sums = np.stack([weights[:, table.images] @ table.counts for table in tables], axis=1)
        measures = _qualities(sums[..., :4], "") | {"miou": _ratio(sums[..., 8], sums[..., 9])}
        if boundaries:
            measures |= _qualities(sums[..., 4:8], "boundary_")
        for name, by_class in measures.items():
            for group, members in groups.items():
                found[name][group].append(_mean_of_present(by_class[:, members]))
    return {
        name: {group: _limits(np.concatenate(parts), level) for group, parts in by_group.items()}
        for name, by_group in found.items()
    }


@dataclass(frozen=True)
class _Table:
    """The images (N,) that a class occurs in, and its counts in each, (N,10).

    The counts: tp, fp, fn, sum of IoUs; the same for boundaries; semantic intersection, union.
    """

    images: NDArray[np.intp]
    counts: Array


def _table(scores: Sequence[ImageScore], category_id: int) -> _Table:
    occurring = [
        position
        for position, score in enumerate(scores)
        if category_id in score.masks or category_id in score.boundaries or category_id in score.semantic
    ]
    rows = [list(_counts(scores[position], category_id)) for position in occurring]
    return _Table(np.array(occurring, np.intp), np.array(rows, np.float64).reshape(-1, 10))


def _counts(score: ImageScore, category_id: int) -> Iterator[float]:
    for qualities in (score.masks, score.boundaries):
        quality = qualities.get(category_id, ClassQuality())
        yield from (quality.tp, quality.fp, quality.fn, quality.iou_sum)
    pixels = score.semantic.get(category_id, SemanticCount())
    yield from (pixels.intersection, pixels.union)


def _weights(rng: np.random.Generator, draws: int, images: int) -> Array:
    """How often each draw has each image, (draws, images)."""
    return np.stack([np.bincount(rng.integers(images, size=images), minlength=images) for _ in range(draws)]).astype(
        np.float64
    )


def _qualities(sums: Array, prefix: str) -> dict[str, Array]:
    """PQ, SQ and RQ, (draws, classes), of (draws, classes, 4); NaN where a class does not occur."""
    tp, fp, fn, iou_sum = np.moveaxis(sums, -1, 0)
    size = tp + fp / 2 + fn / 2
    # Without a match SQ is 0, not unknown, if the class occurs.
    sq = _ratio(iou_sum, np.where(tp > 0, tp, size))
    return {f"{prefix}pq": _ratio(iou_sum, size), f"{prefix}sq": sq, f"{prefix}rq": _ratio(tp, size)}


def _mean_of_present(values: Array) -> Array:
    """Mean over the classes that occur, (draws,); NaN where none does."""
    present = ~np.isnan(values)
    return _ratio(np.where(present, values, 0.0).sum(axis=1), present.sum(axis=1))


def _ratio(parts: Array, wholes: NDArray[np.float64 | np.int64]) -> Array:
    """NaN where the whole is 0."""
    with np.errstate(invalid="ignore"):
        ratios: Array = parts / wholes
    return ratios


def _limits(values: Array, level: float) -> Interval | None:
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2]).tolist()
    return Interval(low, high)
