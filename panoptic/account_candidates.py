"""How well the raw instances, as the network gave them before merging, cover the true things of a picture."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from panoptic.id_map import VOID
from panoptic.mask_codes import RunLengths, check_size
from panoptic.segments import SegmentLabel


def candidate_ious(
    truth_ids: NDArray[np.int32], truth: Sequence[SegmentLabel], candidates: Sequence[tuple[int, RunLengths]]
) -> dict[int, float]:
    """By the id of a true segment, the best mask IoU of a candidate of its class, where one touches it.

    `truth_ids` is (H,W), `candidates` are the category ids and masks of this picture. As in PQ, pixels on true void do
    not count against a candidate; crowd regions have none. Raises `DatasetError` for a candidate of another size.
    """
    height, width = truth_ids.shape
    by_class: dict[int, list[RunLengths]] = defaultdict(list)
    for category_id, mask in candidates:
        check_size(mask, height, width, f"an instance of category {category_id}")
        by_class[category_id].append(mask)
    wanted = [segment for segment in truth if not segment.is_crowd and segment.category_id in by_class]
    codes = _encode(truth_ids, [VOID, *(segment.id for segment in wanted)])
    best: dict[int, float] = {}
    for category_id, predicted in by_class.items():
        true = [segment.id for segment in wanted if segment.category_id == category_id]
        if not true:
            continue
        areas = coco_mask.area(predicted).astype(np.float64)[:, None]
        regions = [codes[VOID], *(codes[segment_id] for segment_id in true)]
        # With the crowd flag the tool divides by the area of the candidate alone, which gives the pixels shared.
        shared = np.rint(coco_mask.iou(predicted, regions, [1] * len(regions)) * areas)
        unions = areas - shared[:, :1] + coco_mask.area(regions[1:]) - shared[:, 1:]
        ious = (shared[:, 1:] / np.maximum(unions, 1)).max(axis=0)
        best |= {segment_id: iou for segment_id, iou in zip(true, ious.tolist(), strict=True) if iou > 0}
    return best


def _encode(ids: NDArray[np.int32], wanted: Sequence[int]) -> dict[int, RunLengths]:
    columns = np.ascontiguousarray(ids.T)  # the code runs down the columns
    return {segment_id: coco_mask.encode((columns == segment_id).view(np.uint8).T) for segment_id in wanted}
