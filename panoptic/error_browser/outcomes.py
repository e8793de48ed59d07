"""The outcome of every segment of an image, in the words of `panoptic.evaluation.error_breakdown`.

A ground truth segment is `matched`, a false negative of one of the error types (`merging`, `classification`,
`localization`, `missed`), or a `crowd` region, which counts nowhere. A predicted segment is `matched`, a false positive
(`classification`, `localization`, `background`), or `ignored`: mostly on void, or on crowd of its class. So each
segment has exactly one outcome, and the outcomes add up to PQ's tp, fn and fp.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from panoptic.evaluation.error_breakdown import ERROR_TYPES, ErrorBreakdown
from panoptic.evaluation.error_pairs import ErrorPairs, Pair, Pairs
from panoptic.evaluation.image import ImageEvaluation
from panoptic.format.segments import SegmentLabel


@dataclass(frozen=True, slots=True)
class SegmentOutcome:
    """The outcome of one segment.

    `other_id`: the segment of the other side that it met: its match, else the one that it was mistaken for, else the
    one with which it shares most pixels; None if it shares none. `iou` and `boundary_iou` are those of the two, else 0.
    """

    segment_id: int
    category_id: int
    outcome: str
    other_id: int | None = None
    other_category_id: int | None = None
    iou: float = 0.0
    boundary_iou: float = 0.0


@dataclass(frozen=True, slots=True)
class ImageOutcomes:
    """The outcomes of all segments of an image, in the order in which they are listed."""

    ground_truth: tuple[SegmentOutcome, ...]
    prediction: tuple[SegmentOutcome, ...]


def segment_outcomes(evaluation: ImageEvaluation, errors: ErrorPairs) -> ImageOutcomes:
    """Name the outcome of every segment of one image."""
    ground_truth, prediction = evaluation.ground_truth.segments, evaluation.prediction.segments
    matching, pairs = evaluation.matching, errors.pairs
    partners = {**errors.explained}
    partners |= {(match.gt_id, match.prediction_id): "matched" for match in matching.matches}
    by_gt = {pair[0]: (pair, outcome) for pair, outcome in partners.items()}
    by_prediction = {pair[1]: (pair, outcome) for pair, outcome in partners.items()}
    false_positives = {segment.id for segment in matching.false_positives}
    closest_prediction, closest_gt = (_closest(pairs, side) for side in (0, 1))
    gt_classes, predicted_classes = (
        {segment.id: segment.category_id for segment in side} for side in (ground_truth, prediction)
    )

    def of_gt(segment: SegmentLabel) -> SegmentOutcome:
        pair, outcome = by_gt.get(segment.id, (closest_prediction.get(segment.id), "missed"))
        if segment.is_crowd:
            outcome = "crowd"
        elif outcome != "matched" and segment.id in errors.merging:
            outcome = "merging"
        return _outcome(segment, outcome, pair and pair[1], predicted_classes, pairs.get(pair) if pair else None)

    def of_prediction(segment: SegmentLabel) -> SegmentOutcome:
        pair, outcome = by_prediction.get(segment.id, (closest_gt.get(segment.id), "background"))
        if outcome != "matched" and segment.id not in false_positives:
            outcome = "ignored"
        return _outcome(segment, outcome, pair and pair[0], gt_classes, pairs.get(pair) if pair else None)

    return ImageOutcomes(tuple(map(of_gt, ground_truth)), tuple(map(of_prediction, prediction)))


def image_pq_loss(breakdown: ErrorBreakdown) -> dict[str, float]:
    """The PQ loss of one image by error type, averaged over its classes; the types add up to 1 - PQ."""
    classes = [entry for entry in breakdown.classes.values() if entry.present.size]
    pq_loss = dict.fromkeys(ERROR_TYPES, 0.0)
    for entry in classes:
        weight = entry.present.size * len(classes)
        for name, loss in asdict(entry.pq_loss).items():
            pq_loss[name] += loss / weight
    return pq_loss


def _closest(pairs: Pairs, side: int) -> dict[int, tuple[int, int]]:
    """The pair with most shared pixels for each id on one side; among equals the one with the smallest other id."""
    closest: dict[int, tuple[int, int]] = {}
    for pair in sorted(pairs, key=lambda pair: (-pairs[pair].pixels, pair)):
        closest.setdefault(pair[side], pair)
    return closest


def _outcome(
    segment: SegmentLabel, outcome: str, other_id: int | None, categories: Mapping[int, int], pair: Pair | None
) -> SegmentOutcome:
    if pair is None or other_id is None:
        return SegmentOutcome(segment.id, segment.category_id, outcome)
    return SegmentOutcome(
        segment.id, segment.category_id, outcome, other_id, categories[other_id], pair.iou, pair.boundary_iou
    )
