"""What became of every segment of an image, in the words of `panoptic.evaluation.error_breakdown`.

A true segment is `matched`, or it is missed for the reason that the account gives (`merging`, `wrong_class`,
`localization`, `missed`), or it is a `crowd` region, which counts nowhere. A predicted segment is `matched`, or a false
positive (`wrong_class`, `localization`, `spurious`), or `forgiven`: mostly on void, or on crowd of its class. So each
segment has exactly one outcome, and they add up to PQ's tp, fn and fp.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from panoptic.evaluation.error_breakdown import KINDS, ImageBreakdown
from panoptic.evaluation.error_pairs import Pair
from panoptic.evaluation.panoptic_quality import Matching
from panoptic.format.segments import SegmentLabel

MISSES = ("merging", "wrong_class", "localization", "missed")
FALSE_POSITIVES = ("wrong_class", "localization", "spurious")

Explained = Mapping[tuple[int, int], str]


@dataclass(frozen=True, slots=True)
class SegmentOutcome:
    """What became of one segment.

    `other_id`: the segment on the other side that it met: its match, else the one that it was taken for, else the one
    with which it shares most pixels; None if it shares none. `iou` and `boundary_iou` are those of the two, 0 without.
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
    """Of all segments of an image, in the order in which they are listed."""

    ground_truth: tuple[SegmentOutcome, ...]
    prediction: tuple[SegmentOutcome, ...]


def segment_outcomes(
    pairs: Mapping[tuple[int, int], Pair],
    ground_truth: Sequence[SegmentLabel],
    prediction: Sequence[SegmentLabel],
    matching: Matching,
    explained: Explained,
    candidate_ious: Mapping[int, float],
) -> ImageOutcomes:
    """Say what became of every segment of one image.

    Args:
        pairs: of the image (`breakdown_pairs.segment_pairs`).
        ground_truth, prediction: all segments.
        matching: of these, by whole masks.
        explained: pairs that explain errors (`breakdown_pairs.explain_errors`).
        candidate_ious: as for `breakdown_image`.
    """
    partners = dict(explained)
    partners |= {(match.gt_id, match.prediction_id): "matched" for match in matching.matches}
    by_gt = {pair[0]: (pair, kind) for pair, kind in partners.items()}
    by_prediction = {pair[1]: (pair, kind) for pair, kind in partners.items()}
    spurious = {segment.id for segment in matching.spurious}
    merged = {gt_id for gt_id, iou in candidate_ious.items() if iou > 0.5}
    closest_prediction, closest_gt = (_closest(pairs, side) for side in (0, 1))
    classes = {
        side: {segment.id: segment.category_id for segment in segments}
        for side, segments in (("ground_truth", ground_truth), ("prediction", prediction))
    }

    def of_gt(segment: SegmentLabel) -> SegmentOutcome:
        pair, outcome = by_gt.get(segment.id, (closest_prediction.get(segment.id), "missed"))
        if segment.is_crowd:
            outcome = "crowd"
        elif outcome != "matched" and segment.id in merged:
            outcome = "merging"
        return _outcome(segment, outcome, pair and pair[1], classes["prediction"], pairs.get(pair) if pair else None)

    def of_prediction(segment: SegmentLabel) -> SegmentOutcome:
        pair, outcome = by_prediction.get(segment.id, (closest_gt.get(segment.id), "spurious"))
        if outcome != "matched" and segment.id not in spurious:
            outcome = "forgiven"
        return _outcome(segment, outcome, pair and pair[0], classes["ground_truth"], pairs.get(pair) if pair else None)

    return ImageOutcomes(tuple(map(of_gt, ground_truth)), tuple(map(of_prediction, prediction)))


def image_losses(error_breakdown: ImageBreakdown) -> dict[str, float]:
    """What each kind of error takes from the PQ of one image, averaged over its classes; they add up to 1 - PQ."""
    classes = [entry for entry in error_breakdown.classes.values() if entry.present.occurs]
    losses = dict.fromkeys(KINDS, 0.0)
    for entry in classes:
        present = entry.present
        weight = (present.tp + present.fp / 2 + present.fn / 2) * len(classes)
        for kind, lost in asdict(entry.lost).items():
            losses[kind] += lost / weight
    return losses


def _closest(pairs: Mapping[tuple[int, int], Pair], side: int) -> dict[int, tuple[int, int]]:
    """By the id on one side, the pair with most shared pixels; of equal ones that of the smallest other id."""
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
