"""The rows of both tables: networks as published, the way they are merged, and the papers' figures."""

from collections.abc import Mapping
from dataclasses import dataclass

from model.published import PUBLISHED, PublishedModel

TABLE_5, TABLE_4 = "table 5 of version 2", "table 4 of version 1"


@dataclass(frozen=True)
class CostRow:
    """A network at the size of the paper.

    Attributes:
        title: of the row in the paper.
        table: the one that it belongs to.
        model: configuration, and the papers' parameters and multiply-adds.
        merging: method of its post-processing.
        compared: row of `benchmarks.compare_models` that is the same network at the size of `mini`.
        pq: in percent, in the paper.
        fps: images per second, in the paper, on a V100.
        memory_mb: of a training step with one image, in the paper.
    """

    title: str
    table: str
    model: PublishedModel
    merging: str = "mask"
    compared: str | None = None
    pq: float | None = None
    fps: float | None = None
    memory_mb: float | None = None


ROWS: Mapping[str, CostRow] = {
    "detr": CostRow("DETR", TABLE_5, PUBLISHED["detr_r50"], "detr", "detr_p", 43.4, 4.9),
    "detr_m": CostRow("+ mask-wise merging", TABLE_5, PUBLISHED["detr_r50"], "mask", "detr_m", 44.7, 6.1),
    "d_detr_ms": CostRow(
        "++ multi-scale deformable attention", TABLE_5, PUBLISHED["d_detr_ms_r50"], "mask", "d_detr_ms", 47.3, 2.7
    ),
    "joint_matching": CostRow("+++ mask decoder", TABLE_5, PUBLISHED["joint_r50"], "mask", "joint_matching", 48.5, 7.8),
    "v2": CostRow("++++ query decoupling", TABLE_5, PUBLISHED["r50"], "mask", "v2", 49.6, 7.8),
    "v1_r50": CostRow("version 1, R50", TABLE_4, PUBLISHED["v1_r50"], fps=13, memory_mb=7722),
    "v1_r101": CostRow("version 1, R101", TABLE_4, PUBLISHED["v1_r101"], fps=10, memory_mb=8396),
    "v1_pvtv2_b5": CostRow("version 1, PVTv2-B5", TABLE_4, PUBLISHED["v1_pvtv2_b5"], fps=5, memory_mb=23112),
}
