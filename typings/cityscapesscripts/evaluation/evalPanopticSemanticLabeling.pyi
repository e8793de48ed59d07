from typing import Any

from panopticapi.evaluation import pq_compute_single_core as pq_compute_single_core

def evaluatePanoptic(
    gt_json_file: str, gt_folder: str, pred_json_file: str, pred_folder: str, resultsFile: str
) -> dict[str, Any]: ...
