"""Matching the segments of an image for panoptic quality (PQ) by the rules of COCO's public benchmark.

A predicted and a ground truth segment of one class match if their IoU is above 0.5 (Kirillov et al., CVPR 2019). Then
PQ = SQ * RQ, where SQ is the mean IoU of the matches and RQ = tp / (tp + fp / 2 + fn / 2), averaged over the classes
that occur (`panoptic.evaluation.scores`). Areas are counted in the id maps, and every crowd region of a class counts.
Boundary PQ follows the same rules with min(mask IoU, boundary IoU) in place of the IoU.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic.evaluation.overlaps import Overlaps
from panoptic.format.id_map import VOID
from panoptic.format.segments import AnnotatedSegment, SegmentLabel
from panoptic.io.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Match:
    """A ground truth and a predicted segment of one class whose IoU is above 0.5."""

    gt_id: int
    prediction_id: int
    category_id: int
    iou: float


@dataclass(frozen=True, slots=True)
class Matching:
    """The matched and unmatched segments of one image, without crowd regions and ignored predictions."""

    matches: tuple[Match, ...]
    false_negatives: tuple[SegmentLabel, ...]
    false_positives: tuple[SegmentLabel, ...]


@dataclass(frozen=True, slots=True)
class MatchingRules:
    """Options of the matching.

    `panopticapi` reproduces where the public tool differs: the union takes the area of a ground truth segment from the
    JSON (`AnnotatedSegment.area`) instead of counting pixels, predictions are ignored only on the last crowd region
    listed for their class, and ground truth ids that are drawn but not listed, or the reverse, go unnoticed.
    """

    panopticapi: bool = False


def match_overlaps(
    overlaps: Overlaps,
    ground_truth: Sequence[SegmentLabel],
    prediction: Sequence[SegmentLabel],
    rules: MatchingRules = MatchingRules(),
    masks: "Areas | None" = None,
) -> Matching:
    """Match the segments of one image by mask IoU; by default the ids drawn must be exactly those listed.

    `masks`: the areas of whole masks, where `mask_areas` has counted them before.
    """
    masks = masks or mask_areas(overlaps, ground_truth, rules)
    return _match(masks, masks, ground_truth, prediction, rules)


def match_boundaries(
    overlaps: Overlaps,
    ground_truth: Sequence[SegmentLabel],
    prediction: Sequence[SegmentLabel],
    rules: MatchingRules = MatchingRules(),
    masks: "Areas | None" = None,
) -> Matching:
    """Match by min(mask IoU, boundary IoU), for boundary PQ (Cheng et al., CVPR 2021); needs overlaps with bands.

    Boundary IoU is the IoU of the bands of both segments; pixels of the predicted band on void of the ground truth are
    left out of the union. As in the authors' code, whole masks decide which predictions are ignored.
    """
    bands = Areas(overlaps, overlaps.in_gt_band, overlaps.in_prediction_band, overlaps.in_both_bands)
    return _match(masks or mask_areas(overlaps, ground_truth, rules), bands, ground_truth, prediction, rules)


def _match(
    masks: "Areas",
    bands: "Areas",
    ground_truth: Sequence[SegmentLabel],
    prediction: Sequence[SegmentLabel],
    rules: MatchingRules,
) -> Matching:
    gt_by_id = {segment.id: segment for segment in ground_truth}
    prediction_by_id = {segment.id: segment for segment in prediction}
    crowds = [segment for segment in ground_truth if segment.is_crowd]
    if rules.panopticapi:
        crowds = list({segment.category_id: segment for segment in crowds}.values())
    ignoring = {segment.id for segment in crowds}

    matches = []
    # Pixels that count neither for nor against a prediction: void, and crowd of its own class.
    ignored: dict[int, int] = defaultdict(int, masks.on_void)
    for pair, pixels in masks.shared.items():
        gt, predicted = gt_by_id.get(pair[0]), prediction_by_id.get(pair[1])
        if gt is None or predicted is None or gt.category_id != predicted.category_id:
            continue
        if gt.is_crowd:
            ignored[predicted.id] += pixels if gt.id in ignoring else 0
            continue
        # An IoU above 0.5 with one segment rules out the same with another, so the order of pairs does not matter.
        iou = min(masks.iou(pair), bands.iou(pair))
        if iou > 0.5:
            matches.append(Match(gt.id, predicted.id, gt.category_id, iou))

    matched_gt = {match.gt_id for match in matches}
    matched_predictions = {match.prediction_id for match in matches}
    false_negatives = (segment for segment in ground_truth if not segment.is_crowd and segment.id not in matched_gt)
    unmatched = (segment for segment in prediction if segment.id not in matched_predictions)
    false_positives = (segment for segment in unmatched if ignored[segment.id] <= masks.of_prediction[segment.id] / 2)
    return Matching(tuple(matches), tuple(false_negatives), tuple(false_positives))


class Areas:
    """Areas by segment id and areas shared by pairs, of whole masks or of bands."""

    def __init__(
        self,
        overlaps: Overlaps,
        ground_truth: NDArray[np.int64],
        prediction: NDArray[np.int64],
        both: NDArray[np.int64],
    ) -> None:
        self.of_gt: dict[int, int] = defaultdict(int)
        self.of_prediction: dict[int, int] = defaultdict(int)
        self.shared: dict[tuple[int, int], int] = {}
        self.on_void: dict[int, int] = defaultdict(int)
        columns = (overlaps.gt_ids, overlaps.prediction_ids, ground_truth, prediction, both)
        for gt_id, prediction_id, in_gt, in_prediction, in_both in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            self.of_gt[gt_id] += in_gt
            self.of_prediction[prediction_id] += in_prediction
            if gt_id == VOID:
                self.on_void[prediction_id] = in_prediction
            elif prediction_id != VOID:
                self.shared[gt_id, prediction_id] = in_both

    def iou(self, pair: tuple[int, int]) -> float:
        """IoU of a pair, without void of the ground truth; 0 where the areas claimed by a JSON leave no union."""
        union = self.union(pair)
        return self.shared[pair] / union if union > 0 else 0.0

    def union(self, pair: tuple[int, int]) -> int:
        """Union of a pair, without void; by areas that a JSON claims, it may be smaller than what the pair shares."""
        gt_id, prediction_id = pair
        return self.of_gt[gt_id] + self.of_prediction[prediction_id] - self.shared[pair] - self.on_void[prediction_id]


def mask_areas(overlaps: Overlaps, ground_truth: Sequence[SegmentLabel], rules: MatchingRules) -> Areas:
    """Count the areas of whole masks. Raises `DatasetError` for a segment without the area that panopticapi needs."""
    areas = Areas(overlaps, overlaps.pixels, overlaps.pixels, overlaps.pixels)
    if rules.panopticapi:
        for segment in ground_truth:
            area = segment.area if isinstance(segment, AnnotatedSegment) else None
            if area is None:
                message = f"segment {segment.id} has no 'area' in the JSON that is a whole number"
                raise DatasetError(f"{message}, and panopticapi needs it; add or correct it")
            areas.of_gt[segment.id] = area
    return areas
