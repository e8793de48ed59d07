from collections.abc import Mapping
from typing import Any

from panopticapi.evaluation import PQStat
from panopticapi.evaluation import pq_compute as pq_compute

def pq_compute_single_core(
    proc_id: int,
    annotation_set: list[tuple[dict[str, Any], dict[str, Any]]],
    gt_folder: str,
    pred_folder: str,
    categories: Mapping[int, dict[str, Any]],
    iou_type: str,
    dilation_ratio: float,
) -> PQStat: ...
