"""Mask-wise merging against argmaxes per pixel (section 3.5 of the CVPR paper): how much better, how often, and where.

All methods merge the same masks with the same settings.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from model.explanation.lost_segments import LostSegment, draw_lost, lost_segments
from model.explanation.observing import ObservedImage
from model.explanation.quality import PqEstimator
from model.explanation.recording import Recording
from panoptic.evaluation.scores import ImageCounts, count_image, image_pq
from panoptic.format.categories import CategoryTable
from panoptic.report.variants import MergingComparison, OtherMerging

MASKS, PIXELS = "mask", "pixel"
OTHERS = (PIXELS, "pixel_class", "detr")
"""The methods beside mask-wise merging, as `MergingSettings.method` names them."""


class MergingCases:
    """Merges images by all methods, and collects the counts and the segments that the argmax loses at most cost."""

    def __init__(self, categories: CategoryTable, drawn: int) -> None:
        """Keep `drawn` segments, of different images."""
        self._categories, self._drawn = categories, drawn
        self._counts: dict[str, list[ImageCounts]] = {method: [] for method in (MASKS, *OTHERS)}
        self._lost: list[LostSegment] = []
        self._counts_any = False

    def add(self, image: ObservedImage) -> None:
        """Merge an image by all methods, unless it has no ground truth."""
        if image.ground_truth is None:
            return
        self._counts_any |= any(not segment.is_crowd for segment in image.ground_truth.segments)
        merged = {method: remerged(image, method) for method in self._counts}
        for method, counts in self._counts.items():
            evaluation = merged[method].evaluation
            assert evaluation is not None
            counts.append(count_image(evaluation))
        lost = sorted(lost_segments(merged[MASKS], merged[PIXELS]), key=lambda one: one.rank)
        self._lost = sorted([*self._lost, *lost[:1]], key=lambda one: one.rank)[: self._drawn]

    def result(self, folder: Path, resamples: int) -> MergingComparison | None:
        """Estimate the scores of all methods, and draw the segments that were kept.

        None if no segment of the ground truth counts.
        """
        if not self._counts_any:
            return None
        estimator, masks = PqEstimator(self._categories, resamples), self._counts[MASKS]
        others = tuple(self._other(method, estimator) for method in OTHERS)
        drawings = tuple(draw_lost(lost, number, folder) for number, lost in enumerate(self._lost, start=1))
        return MergingComparison(len(masks), estimator.pq(masks)["all"], others, drawings)

    def _other(self, method: str, estimator: PqEstimator) -> OtherMerging:
        masks, other = self._counts[MASKS], self._counts[method]
        pairs = [(image_pq(first), image_pq(second)) for first, second in zip(masks, other, strict=True)]
        gains = [first - second for first, second in pairs if first is not None and second is not None]
        return OtherMerging(
            method=method,
            pq=estimator.pq(other)["all"],
            gain=estimator.difference(other, masks),
            better=sum(gain > 0 for gain in gains),
            worse=sum(gain < 0 for gain in gains),
        )


def remerged(image: ObservedImage, method: str) -> ObservedImage:
    """Merge the masks of an image again by another method, and let go of what was recorded of its whole batch."""
    prediction = image.found.merge(replace(image.settings.merging, method=method))
    return replace(image, prediction=prediction, recording=Recording())


def describe_merging(comparison: MergingComparison) -> Iterator[str]:
    """Yield a line for each method beside mask-wise merging."""
    for other in comparison.others:
        yield (
            f"PQ {100 * comparison.pq:.1f} merged mask-wise, {100 * other.pq:.1f} by {other.method}: "
            f"{100 * other.gain:.1f} more; higher in {other.better} of {comparison.images} images, "
            f"lower in {other.worse}"
        )
