"""PQ by the size of segments, as COCO reports AP by the size of objects.

COCO divides small from medium at 32 x 32 pixels, and medium from large at 96 x 96, in images of about 640 x 480. Here
the limits are what these areas are of 640 x 480, 1/300 and 3/100 of the image: COCO's for images of that size, and in
proportion for others, so that resizing an image leaves the sizes of its segments as they were, and small images have
large segments as well.

A ground truth segment counts for its own size, whatever the size of its match, and an unmatched prediction for that of
the prediction. So the counts of the three sizes add up to those of PQ.
"""

from bisect import bisect_right
from collections.abc import Collection
from dataclasses import replace
from functools import partial

from panoptic.evaluation.image import ImageEvaluation
from panoptic.evaluation.panoptic_quality import Matching
from panoptic.evaluation.scores import PQ, ClassQuality, ImageCounts, Scores, class_groups, count_by_class

SIZES = ("small", "medium", "large")
LIMITS = tuple(side**2 / (640 * 480) for side in (32, 96))
"""Least fractions of the image that a medium and a large segment cover."""


def size_of(area: int, image_area: int) -> str:
    """Return the size of a segment, given its area and that of the image in pixels."""
    return SIZES[bisect_right(LIMITS, area / image_area)]


def _count_size(size: str, evaluation: ImageEvaluation) -> dict[int, ClassQuality]:
    """Count one image for the PQ of segments of a size, by category id."""
    matching, masks, pixels = evaluation.matching, evaluation.masks, evaluation.ground_truth.ids.size
    of_size = Matching(
        tuple(match for match in matching.matches if size_of(masks.of_gt[match.gt_id], pixels) == size),
        tuple(one for one in matching.false_negatives if size_of(masks.of_gt[one.id], pixels) == size),
        tuple(one for one in matching.false_positives if size_of(masks.of_prediction[one.id], pixels) == size),
    )
    return count_by_class(of_size)


SIZE_METRICS = tuple(
    replace(
        PQ,
        name=f"pq_{size}",
        count=partial(_count_size, size),
        titles=tuple(f"{title} {size}" for title in PQ.titles),
    )
    for size in SIZES
)
"""PQ, SQ and RQ of segments of each size, averaged over the classes that have any."""


def count_sizes(evaluation: ImageEvaluation) -> ImageCounts:
    """Count one image for `SIZE_METRICS`."""
    return {metric.name: metric.count(evaluation) for metric in SIZE_METRICS}


def segments_by_size(scores: Scores) -> dict[str, dict[str, int]]:
    """Count the ground truth segments of each size, by size and group of classes, in scores that include the sizes."""
    found: dict[str, dict[str, int]] = {}
    for size, metric in zip(SIZES, SIZE_METRICS, strict=True):
        sums = [counts for counts in scores.sums[metric.name].values() if isinstance(counts, ClassQuality)]
        groups = class_groups(scores.categories).items()
        found[size] = {group: sum(counts.tp + counts.fn for counts in sums[members]) for group, members in groups}
    return found


def with_sizes(scores: Scores, images: Collection[ImageCounts]) -> Scores:
    """Add the scores by size to others of the same images, given the counts of each by size."""
    sums = {
        metric.name: {
            category.id: sum((image[metric.name].get(category.id, metric.zero) for image in images), metric.zero)
            for category in scores.categories
        }
        for metric in SIZE_METRICS
    }
    return Scores(scores.categories, (*scores.metrics, *SIZE_METRICS), {**scores.sums, **sums})
