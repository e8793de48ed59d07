"""Pairs of a true and a predicted segment that share pixels, and which of them explain an error.

`panoptic.evaluation.error_breakdown` lays what PQ lost to these errors; `panoptic.error_browser.outcomes` says of every
segment which it met.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from panoptic.evaluation.overlaps import Overlaps
from panoptic.evaluation.panoptic_quality import Matching
from panoptic.format.id_map import VOID
from panoptic.format.segments import SegmentLabel
from panoptic.instances.rle import RunLengths, check_size

_LEAST_IOU = 0.1


@dataclass(frozen=True, slots=True)
class Pair:
    """A true and a predicted segment that share `pixels`; true void is left out, as in PQ.

    `in_band` is the share of disagreeing pixels in their bands, `boundary_iou` the IoU of the bands: both 0 without.
    """

    pixels: int
    iou: float
    boundary_iou: float
    in_band: float


def segment_pairs(overlaps: Overlaps) -> dict[tuple[int, int], Pair]:
    """All pairs of segments that share pixels, by (true id, predicted id)."""
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


def explain_errors(
    pairs: Mapping[tuple[int, int], Pair], prediction: Sequence[SegmentLabel], matching: Matching
) -> dict[tuple[int, int], str]:
    """The kind, `wrong_class` or `localization`, of each pair of a missed and an unmatched segment.

    Each segment is in one pair at most. Forgiven predictions take part: they may show why a segment was missed, though
    they are no false positives.
    """
    used = {match.prediction_id for match in matching.matches}
    ground_truth = {segment.id: segment.category_id for segment in matching.missed}
    unmatched = {segment.id: segment.category_id for segment in prediction if segment.id not in used}
    open_pairs = {
        pair: (found.iou, ground_truth[pair[0]] == unmatched[pair[1]])
        for pair, found in pairs.items()
        if pair[0] in ground_truth and pair[1] in unmatched
    }
    # An IoU above 0.5 with one segment leaves too little for another: these pairs share no segment.
    explained = {pair: "wrong_class" for pair, (iou, same) in open_pairs.items() if iou > 0.5 and not same}
    taken_gt, taken_prediction = ({pair[side] for pair in explained} for side in (0, 1))
    close = [(-iou, pair) for pair, (iou, same) in open_pairs.items() if same and iou >= _LEAST_IOU]
    for _, pair in sorted(close):
        if pair[0] not in taken_gt and pair[1] not in taken_prediction:
            explained[pair] = "localization"
            taken_gt.add(pair[0])
            taken_prediction.add(pair[1])
    return explained


def _per_id(ids: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """(P,) the sum of `counts` over all pairs with the same id, beside each pair."""
    _, members = np.unique(ids, return_inverse=True)
    sums: NDArray[np.int64] = np.bincount(members, weights=counts).astype(np.int64)[members]
    return sums


def candidate_ious(
    gt_ids: NDArray[np.int32], ground_truth: Sequence[SegmentLabel], candidates: Sequence[tuple[int, RunLengths]]
) -> dict[int, float]:
    """By the id of a true segment, the best mask IoU of a candidate of its class, where one touches it.

    `gt_ids` is (H,W), `candidates` are the category ids and masks of this image. As in PQ, pixels on true void do
    not count against a candidate; crowd regions have none. Raises `DatasetError` for a candidate of another size.
    """
    height, width = gt_ids.shape
    by_class: dict[int, list[RunLengths]] = defaultdict(list)
    for category_id, mask in candidates:
        check_size(mask, height, width, f"an instance of category {category_id}")
        by_class[category_id].append(mask)
    wanted = [segment for segment in ground_truth if not segment.is_crowd and segment.category_id in by_class]
    codes = _encode(gt_ids, [VOID, *(segment.id for segment in wanted)])
    best: dict[int, float] = {}
    for category_id, predicted in by_class.items():
        gt = [segment.id for segment in wanted if segment.category_id == category_id]
        if not gt:
            continue
        areas = coco_mask.area(predicted).astype(np.float64)[:, None]
        regions = [codes[VOID], *(codes[segment_id] for segment_id in gt)]
        # With the crowd flag the tool divides by the area of the candidate alone, which gives the pixels shared.
        shared = np.rint(coco_mask.iou(predicted, regions, [1] * len(regions)) * areas)
        unions = areas - shared[:, :1] + coco_mask.area(regions[1:]) - shared[:, 1:]
        ious = (shared[:, 1:] / np.maximum(unions, 1)).max(axis=0)
        best |= {segment_id: iou for segment_id, iou in zip(gt, ious.tolist(), strict=True) if iou > 0}
    return best


def _encode(ids: NDArray[np.int32], wanted: Sequence[int]) -> dict[int, RunLengths]:
    columns = np.ascontiguousarray(ids.T)  # the code runs down the columns
    return {segment_id: coco_mask.encode((columns == segment_id).view(np.uint8).T) for segment_id in wanted}
