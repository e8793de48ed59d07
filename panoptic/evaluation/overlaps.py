"""The overlaps of the segments of two id maps: the one table that all scores of an image are computed from.

For boundary scores (Cheng et al., CVPR 2021) the table also counts pixels near a boundary. The band of an id map at
distance d consists of the pixels within Chebyshev distance d of a pixel with another id, or of the image's outside.

The compiled core counts where it has been built (`COMPILED`), otherwise numpy, which is the specification.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic.format.id_map import MAX_ID

try:
    from panoptic.evaluation import _overlaps
except ImportError:  # installed where there was no C++ compiler
    COMPILED = False
else:
    COMPILED = True


@dataclass(frozen=True)
class Overlaps:
    """The P pairs of ids that share pixels, in ascending order (ground truth, prediction); every field is (P,) int64.

    `in_*_band` count the pair's pixels in the band of the ground truth, of the prediction, and of both; all are zero
    without a band.
    """

    gt_ids: NDArray[np.int64]
    prediction_ids: NDArray[np.int64]
    pixels: NDArray[np.int64]
    in_gt_band: NDArray[np.int64]
    in_prediction_band: NDArray[np.int64]
    in_both_bands: NDArray[np.int64]


def count_overlaps(gt_ids: NDArray[np.int32], prediction_ids: NDArray[np.int32], distance: int = 0) -> Overlaps:
    """Count the pixels that each pair of ids shares in two (H,W) id maps; bands are `distance` pixels wide, if above 0.

    Raises `ValueError` for maps of different sizes, ids outside 0..16777215 or a negative distance.
    """
    count = count_overlaps_compiled if COMPILED else count_overlaps_by_numpy
    return count(gt_ids, prediction_ids, distance)


def count_overlaps_compiled(
    gt_ids: NDArray[np.int32], prediction_ids: NDArray[np.int32], distance: int = 0
) -> Overlaps:
    """`count_overlaps` by panoptic/evaluation/_overlaps.cpp, twenty times as fast as with numpy."""
    _check(gt_ids, prediction_ids, distance)
    return Overlaps(
        *_overlaps.count_overlaps(
            np.ascontiguousarray(gt_ids, np.int32), np.ascontiguousarray(prediction_ids, np.int32), distance
        )
    )


def count_overlaps_by_numpy(
    gt_ids: NDArray[np.int32], prediction_ids: NDArray[np.int32], distance: int = 0
) -> Overlaps:
    """`count_overlaps` with numpy and scipy."""
    _check(gt_ids, prediction_ids, distance)
    pairs = (gt_ids.astype(np.int64) << 24 | prediction_ids).reshape(-1)
    # Neighboring pixels mostly belong to one pair: sorting runs takes a fraction of the time that sorting pixels takes.
    starts = np.flatnonzero(np.diff(pairs, prepend=-1))
    unique, members = np.unique(pairs[starts], return_inverse=True)

    def count(where: NDArray[np.bool_]) -> NDArray[np.int64]:
        counts = np.zeros(len(unique), np.int64)
        np.add.at(counts, members, np.add.reduceat(where, starts, dtype=np.int64))
        return counts

    everywhere = np.ones(pairs.shape, np.bool_)
    in_gt, in_prediction = (band(ids, distance).reshape(-1) for ids in (gt_ids, prediction_ids))
    counts = map(count, (everywhere, in_gt, in_prediction, in_gt & in_prediction))
    return Overlaps(unique >> 24, unique & MAX_ID, *counts)


def band(ids: NDArray[np.int32], distance: int) -> NDArray[np.bool_]:
    """The pixels (H,W) in the band of an id map; none at distance 0."""
    if distance == 0 or ids.size == 0:
        return np.zeros(ids.shape, np.bool_)
    from scipy import ndimage  # only here: with the compiled core a process saves 28 MB

    # The rim has an id of its own for the outside, so that no window that reaches into it has one id alone.
    framed = np.pad(ids, distance, constant_values=-1)
    window = 2 * distance + 1
    differs = ndimage.maximum_filter(framed, window) != ndimage.minimum_filter(framed, window)
    inside: NDArray[np.bool_] = differs[distance:-distance, distance:-distance]
    return inside


def _check(gt_ids: NDArray[np.int32], prediction_ids: NDArray[np.int32], distance: int) -> None:
    if gt_ids.shape != prediction_ids.shape or gt_ids.ndim != 2 or distance < 0:
        raise ValueError(
            f"id maps of {gt_ids.shape} and {prediction_ids.shape}, distance {distance}; "
            "give two of one size (height, width) and a distance of at least 0"
        )
    for ids in (gt_ids, prediction_ids):
        # Bits that no id has, including the sign, show in the union of all bits, which is found quicker than extremes.
        if int(np.bitwise_or.reduce(ids, axis=None)) & ~MAX_ID:
            raise ValueError(f"ids must lie in 0..{MAX_ID}, found {ids.min()}..{ids.max()}")
