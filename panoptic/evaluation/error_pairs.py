"""Pairs of a ground truth and a predicted segment that share pixels, and which of them explain an error.

`panoptic.evaluation.error_breakdown` attributes the PQ loss to these errors; `panoptic.error_browser.outcomes` names
the outcome of every segment.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from panoptic.evaluation.image import Candidates, ImageEvaluation
from panoptic.evaluation.overlaps import Overlaps
from panoptic.evaluation.panoptic_quality import Matching
from panoptic.format.id_map import VOID
from panoptic.format.segments import SegmentLabel
from panoptic.instances.rle import Rle, check_size

_LEAST_IOU = 0.1


@dataclass(frozen=True, slots=True)
class Pair:
    """A ground truth and a predicted segment that share `pixels`; as in PQ, void of the ground truth is left out.

    `in_band` is the fraction of the disagreeing pixels in the bands, `boundary_iou` the IoU of the bands; both are 0
    without bands.
    """

    pixels: int
    iou: float
    boundary_iou: float
    in_band: float


Pairs = Mapping[tuple[int, int], Pair]


@dataclass(frozen=True)
class ErrorPairs:
    """The pairs of an image by (ground truth id, predicted id).

    `explained`: the error type of the pairs that explain an error (`explain_errors`).
    `merging`: by the id of a ground truth thing, the best IoU of a raw instance of its class, if above 0.5.
    """

    pairs: Pairs
    explained: Mapping[tuple[int, int], str]
    merging: Mapping[int, float]


def find_error_pairs(evaluation: ImageEvaluation) -> ErrorPairs:
    """Find what explains the errors of an image. Raises `DatasetError` for a candidate of another size."""
    pairs = segment_pairs(evaluation.overlaps)
    ious = candidate_ious(evaluation.ground_truth.ids, evaluation.ground_truth.segments, evaluation.candidates)
    return ErrorPairs(
        pairs,
        explain_errors(pairs, evaluation.prediction.segments, evaluation.matching),
        {gt_id: iou for gt_id, iou in ious.items() if iou > 0.5},
    )


def segment_pairs(overlaps: Overlaps) -> dict[tuple[int, int], Pair]:
    """All pairs of segments that share pixels, by (ground truth id, predicted id)."""
    gt_pixels = _per_id(overlaps.gt_ids, overlaps.pixels)
    gt_band = _per_id(overlaps.gt_ids, overlaps.in_gt_band)
    counted = overlaps.gt_ids != VOID
    prediction_pixels = _per_id(overlaps.prediction_ids, overlaps.pixels * counted)
    prediction_band = _per_id(overlaps.prediction_ids, overlaps.in_prediction_band * counted)
    unions = gt_pixels + prediction_pixels - overlaps.pixels
    in_bands = gt_band - overlaps.in_gt_band + prediction_band - overlaps.in_prediction_band
    both = overlaps.in_both_bands
    columns = (overlaps.pixels, unions, both, gt_band + prediction_band - both, in_bands)
    rows = np.flatnonzero(counted & (overlaps.prediction_ids != VOID))
    ids = zip(overlaps.gt_ids[rows].tolist(), overlaps.prediction_ids[rows].tolist(), strict=True)
    table = zip(*(column[rows].tolist() for column in columns), strict=True)
    return {
        pair: Pair(
            pixels=shared,
            iou=shared / union,
            boundary_iou=in_both / bands if bands else 0.0,
            in_band=in_band / (union - shared) if union > shared else 0.0,
        )
        for pair, (shared, union, in_both, bands, in_band) in zip(ids, table, strict=True)
    }


def explain_errors(pairs: Pairs, prediction: Sequence[SegmentLabel], matching: Matching) -> dict[tuple[int, int], str]:
    """The error type, `classification` or `localization`, of pairs of a false negative and an unmatched prediction.

    Each segment is in one pair at most. Ignored predictions take part: they are no false positives, but they may show
    why a segment was missed.
    """
    matched = {match.prediction_id for match in matching.matches}
    ground_truth = {segment.id: segment.category_id for segment in matching.false_negatives}
    unmatched = {segment.id: segment.category_id for segment in prediction if segment.id not in matched}
    open_pairs = {
        pair: (found.iou, ground_truth[pair[0]] == unmatched[pair[1]])
        for pair, found in pairs.items()
        if pair[0] in ground_truth and pair[1] in unmatched
    }
    # An IoU above 0.5 with one segment rules out the same with another: these pairs have no segment in common.
    explained = {pair: "classification" for pair, (iou, same) in open_pairs.items() if iou > 0.5 and not same}
    taken_gt, taken_prediction = ({pair[side] for pair in explained} for side in (0, 1))
    close = [(-iou, pair) for pair, (iou, same) in open_pairs.items() if same and iou >= _LEAST_IOU]
    for _, pair in sorted(close):
        if pair[0] not in taken_gt and pair[1] not in taken_prediction:
            explained[pair] = "localization"
            taken_gt.add(pair[0])
            taken_prediction.add(pair[1])
    return explained


def _per_id(ids: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each pair (P,), the sum of `counts` over all pairs with the same id."""
    _, members = np.unique(ids, return_inverse=True)
    sums: NDArray[np.int64] = np.bincount(members, weights=counts).astype(np.int64)[members]
    return sums


def candidate_ious(
    gt_ids: NDArray[np.int32], ground_truth: Sequence[SegmentLabel], candidates: Candidates
) -> dict[int, float]:
    """Find the best mask IoU of a candidate for each ground truth segment that one of its class touches, by its id.

    `gt_ids` is (H,W). As in PQ, pixels on void of the ground truth do not count against a candidate; crowd regions
    have none. Raises `DatasetError` for a candidate of another size.
    """
    height, width = gt_ids.shape
    by_class: dict[int, list[Rle]] = defaultdict(list)
    for category_id, mask in candidates:
        check_size(mask, height, width, f"an instance of category {category_id}")
        by_class[category_id].append(mask)
    wanted = [segment for segment in ground_truth if not segment.is_crowd and segment.category_id in by_class]
    masks = _encode(gt_ids, [VOID, *(segment.id for segment in wanted)])
    best: dict[int, float] = {}
    for category_id, predicted in by_class.items():
        gt = [segment.id for segment in wanted if segment.category_id == category_id]
        if not gt:
            continue
        areas = _areas(predicted)[:, None]
        regions = [masks[VOID], *(masks[segment_id] for segment_id in gt)]
        # With the crowd flag, pycocotools divides by the area of the candidate alone: this gives the shared pixels.
        shared = np.rint(coco_mask.iou(predicted, regions, [1] * len(regions)) * areas)
        unions = areas - shared[:, :1] + _areas(regions[1:]) - shared[:, 1:]
        ious = (shared[:, 1:] / np.maximum(unions, 1)).max(axis=0)
        best |= {segment_id: iou for segment_id, iou in zip(gt, ious.tolist(), strict=True) if iou > 0}
    return best


def _areas(masks: Sequence[Rle]) -> NDArray[np.float64]:
    """(N,) pixels. One by one, because pycocotools with numpy 2 fails on lists of more than 255 masks."""
    return np.array([coco_mask.area(mask) for mask in masks], np.float64)


def _encode(ids: NDArray[np.int32], wanted: Sequence[int]) -> dict[int, Rle]:
    columns = np.ascontiguousarray(ids.T)  # RLE runs down the columns
    return {segment_id: coco_mask.encode((columns == segment_id).view(np.uint8).T) for segment_id in wanted}
