"""How the segments of two id maps cover each other: the one table that all scores of a picture are computed from.

For boundary scores (Cheng et al., CVPR 2021) the table also counts pixels near a boundary. The band of an id map at
distance d are the pixels within Chebyshev distance d of a pixel of another id, or of the outside of the picture.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True)
class Overlaps:
    """The P pairs of ids that share pixels, in ascending order of (truth, prediction); every field is (P,) int64.

    `in_*_band` count those of the pair's pixels that lie in the band of the true map, of the predicted map, of both;
    all zero where no band was asked for.
    """

    truth_ids: NDArray[np.int64]
    prediction_ids: NDArray[np.int64]
    pixels: NDArray[np.int64]
    in_truth_band: NDArray[np.int64]
    in_prediction_band: NDArray[np.int64]
    in_both_bands: NDArray[np.int64]


def count_overlaps(truth_ids: NDArray[np.int32], prediction_ids: NDArray[np.int32], distance: int = 0) -> Overlaps:
    """Count the pixels that each pair of ids shares in two (H,W) id maps, with bands of `distance` pixels if above 0.

    Raises `ValueError` for maps of different sizes or a negative distance.
    """
    if truth_ids.shape != prediction_ids.shape or truth_ids.ndim != 2 or distance < 0:
        raise ValueError(
            f"id maps of {truth_ids.shape} and {prediction_ids.shape}, distance {distance}; "
            "give two of one size (height, width) and a distance of at least 0"
        )
    pairs = (truth_ids.astype(np.int64) << 24 | prediction_ids).reshape(-1)
    unique, members = np.unique(pairs, return_inverse=True)
    in_truth, in_prediction = (band(ids, distance).reshape(-1) for ids in (truth_ids, prediction_ids))
    counts = (
        np.bincount(members[where], minlength=len(unique))
        for where in (in_truth, in_prediction, in_truth & in_prediction)
    )
    return Overlaps(unique >> 24, unique & 0xFFFFFF, np.bincount(members, minlength=len(unique)), *counts)


def band(ids: NDArray[np.int32], distance: int) -> NDArray[np.bool_]:
    """(H,W), whether a pixel lies in the band of its id map; nowhere at distance 0."""
    if distance == 0 or ids.size == 0:
        return np.zeros(ids.shape, np.bool_)
    # A rim of no id stands for the outside: no window of one id alone reaches over it.
    framed = np.pad(ids, distance, constant_values=-1)
    window = 2 * distance + 1
    differs = ndimage.maximum_filter(framed, window) != ndimage.minimum_filter(framed, window)
    inside: NDArray[np.bool_] = differs[distance:-distance, distance:-distance]
    return inside
