from collections.abc import Mapping
from typing import Any

class PQStatCat:
    iou: float
    tp: int
    fp: int
    fn: int

class PQStat:
    pq_per_cat: dict[int, PQStatCat]
    def pq_average(
        self, categories: Mapping[int, dict[str, Any]], isthing: bool | None
    ) -> tuple[dict[str, float], dict[int, dict[str, float]]]: ...

def pq_compute(
    gt_json_file: str, pred_json_file: str, gt_folder: str | None = None, pred_folder: str | None = None
) -> dict[str, Any]: ...
def pq_compute_single_core(
    proc_id: int,
    annotation_set: list[tuple[dict[str, Any], dict[str, Any]]],
    gt_folder: str,
    pred_folder: str,
    categories: Mapping[int, dict[str, Any]],
) -> PQStat: ...
