"""Semantic maps: the class of every pixel, as the contiguous label of the category table, without instances.

Void and crowd regions, of which no class is known for certain, have the highest number that a pixel can have: 255, or
65535 in the maps of 16 bits that more than 254 classes need. The file is a PNG of one channel.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic.categories import CategoryTable
from panoptic.runs import run_starts
from panoptic.segments import SegmentLabel

_MOST_IN_8_BITS = 254
# Maps consist of runs, and this finds nothing else: four times as fast as what makes the files 30 % smaller.
_QUICK = (
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE),
)


def void_label(categories: CategoryTable) -> int:
    """What stands for no class in the maps of these categories."""
    return 255 if len(categories) <= _MOST_IN_8_BITS else 65535


def make_semantic_map(
    ids: NDArray[np.int32], segments: Sequence[SegmentLabel], categories: CategoryTable
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """(H,W) labels of an (H,W) id map, uint8 or uint16; ids that no segment has are void."""
    void = void_label(categories)
    labels = {segment.id: categories.label_of(segment.category_id) for segment in segments if not segment.is_crowd}
    flat = ids.reshape(-1)
    starts = run_starts(flat)
    names, of_run = np.unique(flat[starts], return_inverse=True)
    table = np.array([labels.get(name, void) for name in names.tolist()], np.uint8 if void == 255 else np.uint16)
    return np.repeat(table[of_run], np.diff(starts, append=flat.size)).reshape(ids.shape)


def encode_semantic_map(labels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """The bytes of the PNG of an (H,W) map; equal maps give equal bytes."""
    done, data = cv2.imencode(".png", labels, _QUICK)
    assert done
    return data.tobytes()
