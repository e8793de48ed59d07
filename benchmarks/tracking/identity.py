"""IDF1: how steadily predicted tracks keep the identity of true ones (Ristani et al., ECCV workshops 2016).

Tracks are assigned one to one so that most of their detections agree, over the whole video. IDF1 is the fraction of
agreeing detections: 2 IDTP / (detections of the ground truth + predicted detections).
"""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from panoptic.evaluation.overlaps import count_overlaps

Ids = npt.NDArray[np.int32]


def id_f1(frames: Iterable[tuple[Ids, Ids]]) -> float:
    """Compute IDF1 in 0..1 from the maps (H, W) of true and of predicted track ids of every frame, 0 for none.

    Detections of a frame agree at an IoU of at least 0.5; 1 for a video in which nothing is to be found, or found.
    """
    agreeing, gt_count, predicted_count = Counter[tuple[int, int]](), Counter[int](), Counter[int]()
    for gt, predicted in frames:
        overlaps = count_overlaps(gt, predicted)
        pairs = zip(
            *(column.tolist() for column in (overlaps.gt_ids, overlaps.prediction_ids, overlaps.pixels)), strict=True
        )
        shared = {(first, second): pixels for first, second, pixels in pairs}
        gt_area, predicted_area = Counter[int](), Counter[int]()
        for (first, second), pixels in shared.items():
            gt_area[first] += pixels
            predicted_area[second] += pixels
        gt_count.update(gt_area.keys() - {0})
        predicted_count.update(predicted_area.keys() - {0})
        agreeing.update(
            pair
            for pair, both in shared.items()
            if 0 not in pair and 3 * both >= gt_area[pair[0]] + predicted_area[pair[1]]
        )
    return assigned_f1(agreeing, gt_count, predicted_count)


def assigned_f1(agreeing: Counter[tuple[int, int]], gt_count: Counter[int], predicted_count: Counter[int]) -> float:
    """Compute IDF1 from the number of frames in which pairs of tracks agree, and in which each track occurs."""
    total = gt_count.total() + predicted_count.total()
    if not total:
        return 1.0
    rows, columns = sorted(gt_count), sorted(predicted_count)
    frames = np.array([[agreeing[row, column] for column in columns] for row in rows], np.int64)
    frames = frames.reshape(len(rows), len(columns))
    best = linear_sum_assignment(-frames)
    return 2 * int(frames[best].sum()) / total
