"""How the segments of two id maps cover each other: the one table that all scores of an image are computed from.

For boundary scores (Cheng et al., CVPR 2021) the table also counts pixels near a boundary. The band of an id map at
distance d are the pixels within Chebyshev distance d of a pixel of another id, or of the outside of the image.

Counted by the compiled core where it was built (`panoptic.evaluation.overlaps.COMPILED`),
else by numpy, which is the specification.
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

    `in_*_band` count those of the pair's pixels that lie in the band of the true map, of the predicted map, of both;
    all zero where no band was asked for.
    """

    gt_ids: NDArray[np.int64]
    prediction_ids: NDArray[np.int64]
    pixels: NDArray[np.int64]
    in_gt_band: NDArray[np.int64]
    in_prediction_band: NDArray[np.int64]
    in_both_bands: NDArray[np.int64]


def count_overlaps(gt_ids: NDArray[np.int32], prediction_ids: NDArray[np.int32], distance: int = 0) -> Overlaps:
    """Count the pixels that each pair of ids shares in two (H,W) id maps, with bands of `distance` pixels if above 0.

    Raises `ValueError` for maps of different sizes, ids outside 0..16777215 or a negative distance.
    """
    count = count_overlaps_compiled if COMPILED else count_overlaps_by_numpy
    return count(gt_ids, prediction_ids, distance)


def count_overlaps_compiled(
    gt_ids: NDArray[np.int32], prediction_ids: NDArray[np.int32], distance: int = 0
) -> Overlaps:
    """`count_overlaps` by panoptic/evaluation/_overlaps.cpp, twenty times as fast as by numpy."""
    _check(gt_ids, prediction_ids, distance)
    return Overlaps(
        *_overlaps.count_overlaps(
            np.ascontiguousarray(gt_ids, np.int32), np.ascontiguousarray(prediction_ids, np.int32), distance
        )
    )


def count_overlaps_by_numpy(
    gt_ids: NDArray[np.int32], prediction_ids: NDArray[np.int32], distance: int = 0
) -> Overlaps:
    """`count_overlaps` by numpy and scipy."""
    _check(gt_ids, prediction_ids, distance)
    pairs = (gt_ids.astype(np.int64) << 24 | prediction_ids).reshape(-1)
    # Neighbors mostly are of one pair: sorting runs takes a fraction of the time that sorting pixels does.
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
    """(H,W), whether a pixel lies in the band of its id map; nowhere at distance 0."""
    if distance == 0 or ids.size == 0:
        return np.zeros(ids.shape, np.bool_)
    from scipy import ndimage  # only here: a process that scores with the compiled core saves 28 MB

    # A rim of no id stands for the outside: no window of one id alone reaches over it.
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
        # Set bits that no id has, the sign among them, show in the union of all bits, found quicker than the extremes.
        if int(np.bitwise_or.reduce(ids, axis=None)) & ~MAX_ID:
            raise ValueError(f"ids must lie in 0..{MAX_ID}, found {ids.min()}..{ids.max()}")
