"""Does finding things make a query worse at stuff? (figure 7 of the CVPR paper)

The paper defines both axes in an appendix that is not available. Here, over all images,

- thing preference of a query: the fraction of things among the segments that it found and merging kept;
- stuff precision of a query: of the stuff among them, TP / (TP + FP) by the matching of PQ (IoU above 0.5).

A segment counts for the query of its best mask. Queries without stuff that counts have no precision and are no points
of the regression, which is that of least squares with equal weight for every query. Its interval resamples the images.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.explanation.estimates import Resamples
from model.explanation.observing import ObservedImage
from model.explanation.parts import has_learned_queries
from model.network.config import NetworkConfig
from panoptic.evaluation.scores import Array, ratio
from panoptic.report.explained import Preference, QueryPoint

COLUMNS = ("things", "stuff", "right", "wrong")


@dataclass(frozen=True)
class FoundByQuery:
    """How often each query found things, stuff, stuff that is right and stuff that is wrong in one image."""

    counts: dict[int, Counter[str]]


def count_findings(image: ObservedImage) -> FoundByQuery:
    """Count what the queries found in an image with ground truth."""
    assert image.evaluation is not None
    matching = image.evaluation.matching
    right = {match.prediction_id for match in matching.matches}
    wrong = {segment.id for segment in matching.false_positives}
    counts: dict[int, Counter[str]] = {}
    for segment in image.prediction.segments:
        if segment.query is None:
            continue
        found = counts.setdefault(segment.query, Counter())
        found["things" if segment.is_thing else "stuff"] += 1
        if not segment.is_thing:
            found["right"] += segment.id in right
            found["wrong"] += segment.id in wrong
    return FoundByQuery(counts)


def preference_of_queries(images: Sequence[FoundByQuery], config: NetworkConfig, resamples: Resamples) -> Preference:
    """Add up the counts of all images, which are in the order of the resamples, and fit the line."""
    queries = sorted({query for image in images for query in image.counts})
    counted = [
        [[image.counts.get(query, Counter[str]())[column] for column in COLUMNS] for query in queries]
        for image in images
    ]
    counts = np.array(counted, np.float64).reshape(len(images), len(queries), len(COLUMNS))
    totals = counts.sum(axis=0).astype(np.int64).tolist()
    points = tuple(QueryPoint(query, *total) for query, total in zip(queries, totals, strict=True))
    slope = resamples.estimate(lambda weights: fit_lines(_resampled(weights, counts))[0])
    intercept = float(fit_lines(counts.sum(axis=0)[None])[1][0])
    return Preference(
        joint=config.stuff_queries == "joint",
        learned=has_learned_queries(config),
        points=points,
        slope=slope,
        intercept=intercept if slope else None,
    )


def fit_lines(counts: Array) -> tuple[Array, Array]:
    """Fit precision over preference by least squares: slopes and intercepts (R,) from `COLUMNS` (R, queries, 4).

    Both are NaN where fewer than two preferences occur among the queries that have a precision.
    """
    things, stuff, right, wrong = np.moveaxis(counts, -1, 0)
    has_precision = right + wrong > 0
    x = np.where(has_precision, ratio(things, np.where(has_precision, things + stuff, 1)), 0)
    y = np.where(has_precision, ratio(right, np.where(has_precision, right + wrong, 1)), 0)
    number = has_precision.sum(axis=-1)
    x_mean, y_mean = (ratio(values.sum(axis=-1), number) for values in (x, y))
    x_off = np.where(has_precision, x - x_mean[..., None], 0)
    spread = (x_off**2).sum(axis=-1)
    slopes = ratio((x_off * (y - y_mean[..., None])).sum(axis=-1), np.where(spread > 1e-12, spread, np.nan))
    return slopes, y_mean - slopes * x_mean


def _resampled(weights: Array, counts: Array) -> Array:
    sums: Array = weights @ counts.reshape(len(counts), -1)
    return sums.reshape(len(weights), *counts.shape[1:])
