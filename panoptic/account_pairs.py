"""Pairs of a true and a predicted segment that share pixels, and which of them explain an error.

`panoptic.account` lays what PQ lost to these errors; `panoptic.outcomes` says of every segment which it met.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic.id_map import VOID
from panoptic.overlaps import Overlaps
from panoptic.quality import Matching
from panoptic.segments import SegmentLabel

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
    truth_pixels = _per_id(overlaps.truth_ids, overlaps.pixels)
    truth_band = _per_id(overlaps.truth_ids, overlaps.in_truth_band)
    counted = overlaps.truth_ids != VOID
    prediction_pixels = _per_id(overlaps.prediction_ids, overlaps.pixels * counted)
    prediction_band = _per_id(overlaps.prediction_ids, overlaps.in_prediction_band * counted)
    unions = truth_pixels + prediction_pixels - overlaps.pixels
    in_bands = truth_band - overlaps.in_truth_band + prediction_band - overlaps.in_prediction_band
    both = overlaps.in_both_bands
    columns = (overlaps.pixels, unions, both, truth_band + prediction_band - both, in_bands)
    rows = np.flatnonzero(counted & (overlaps.prediction_ids != VOID))
    ids = zip(overlaps.truth_ids[rows].tolist(), overlaps.prediction_ids[rows].tolist(), strict=True)
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
    """The kind, `wrong_class` or `localisation`, of each pair of a missed and an unmatched segment.

    Each segment is in one pair at most. Forgiven predictions take part: they may show why a segment was missed, though
    they are no false positives.
    """
    used = {match.prediction_id for match in matching.matches}
    truth = {segment.id: segment.category_id for segment in matching.missed}
    unmatched = {segment.id: segment.category_id for segment in prediction if segment.id not in used}
    open_pairs = {
        pair: (found.iou, truth[pair[0]] == unmatched[pair[1]])
        for pair, found in pairs.items()
        if pair[0] in truth and pair[1] in unmatched
    }
    # An IoU above 0.5 with one segment leaves too little for another: these pairs share no segment.
    explained = {pair: "wrong_class" for pair, (iou, same) in open_pairs.items() if iou > 0.5 and not same}
    taken_truth, taken_prediction = ({pair[side] for pair in explained} for side in (0, 1))
    close = [(-iou, pair) for pair, (iou, same) in open_pairs.items() if same and iou >= _LEAST_IOU]
    for _, pair in sorted(close):
        if pair[0] not in taken_truth and pair[1] not in taken_prediction:
            explained[pair] = "localisation"
            taken_truth.add(pair[0])
            taken_prediction.add(pair[1])
    return explained


def _per_id(ids: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """(P,) the sum of `counts` over all pairs with the same id, beside each pair."""
    _, members = np.unique(ids, return_inverse=True)
    sums: NDArray[np.int64] = np.bincount(members, weights=counts).astype(np.int64)[members]
    return sums
