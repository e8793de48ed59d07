"""The rows of both tables: networks as published, the way they are merged, and the papers' figures."""

from collections.abc import Mapping
from dataclasses import dataclass

from model.published.models import PUBLISHED, PublishedModel
from model.published.papers import paper_tables

TABLE_5, TABLE_4 = "table 5 of version 2", "table 4 of version 1"


@dataclass(frozen=True)
class CostRow:
    """A network at the size of the paper.

    Attributes:
        title: of the row in the paper.
        table: the one that it belongs to.
        model: configuration, and the papers' parameters and multiply-adds.
        system: the row's name in the papers' table.
        merging: method of its post-processing.
        compared: row of `benchmarks.compare_models` that is the same network at the size of `mini`.
    """

    title: str
    table: str
    model: PublishedModel
    system: str
    merging: str = "mask"
    compared: str | None = None

    def printed(self, column: str) -> float | None:
        """Return what the paper prints: PQ in percent, FPS on a V100, memory in MB of a step with one image."""
        return paper_tables()[_KEYS[self.table]].row(self.system).cells.get(column)


_KEYS: Mapping[str, str] = {TABLE_5: "v2.T5", TABLE_4: "v1.T4"}
ROWS: Mapping[str, CostRow] = {
    "detr": CostRow("DETR", TABLE_5, PUBLISHED["detr_r50"], "detr_p", "detr", "detr_p"),
    "detr_m": CostRow("+ mask-wise merging", TABLE_5, PUBLISHED["detr_r50"], "detr_m", compared="detr_m"),
    "d_detr_ms": CostRow(
        "++ multi-scale deformable attention", TABLE_5, PUBLISHED["d_detr_ms_r50"], "d_detr_ms", compared="d_detr_ms"
    ),
    "joint_matching": CostRow(
        "+++ mask decoder", TABLE_5, PUBLISHED["joint_r50"], "joint_matching", compared="joint_matching"
    ),
    "v2": CostRow("++++ query decoupling", TABLE_5, PUBLISHED["r50"], "v2_r50", compared="v2"),
    "v1_r50": CostRow("version 1, R50", TABLE_4, PUBLISHED["v1_r50"], "v1_r50"),
    "v1_r101": CostRow("version 1, R101", TABLE_4, PUBLISHED["v1_r101"], "v1_r101"),
    "v1_pvtv2_b5": CostRow("version 1, PVTv2-B5", TABLE_4, PUBLISHED["v1_pvtv2_b5"], "v1_pvtv2_b5"),
}
