"""The evaluation of this repository, from files, as `python -m stages.evaluate` runs it.

The only module of this folder that needs the rest of the repository.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conformance.case import GROUPS, Case, Mean, Quality, Scores
from conformance.files import Files
from conformance.runners.harness import Runner, main


def score(case: Case, files: Files, section: str = "", panopticapi: bool = False) -> Scores:
    """Score a case; `section` is `boundary` for boundary PQ."""
    from panoptic.evaluation.dataset import PanopticFiles, PanopticGroundTruth
    from stages.evaluate import EvaluationSettings, Inputs, Outputs, evaluate

    outputs = Outputs(files.gt_json.parent / "metrics.json", per_class=files.gt_json.parent / "per_class.json")
    inputs = Inputs(
        PanopticGroundTruth.from_files(PanopticFiles(files.gt_json, files.gt_folder)),
        PanopticFiles(files.prediction_json, files.prediction_folder),
    )
    settings = EvaluationSettings(boundary_ratio=float(case.boundary_ratio), bootstrap=0)
    evaluate(inputs, outputs, settings, panopticapi)
    assert outputs.per_class is not None
    return _read(outputs.metrics, outputs.per_class, section)


def _read(metrics: Path, per_class: Path, section: str) -> Scores:
    table: Mapping[str, Any] = json.loads(per_class.read_text())
    rows = {int(key): row[section] if section else row for key, row in table.items()}
    names = ("tp", "fp", "fn", "iou_sum", "pq", "sq", "rq")
    classes = {key: Quality(*(row[name] for name in names)) for key, row in rows.items() if row["pq"] is not None}
    averages: Mapping[str, Any] = json.loads(metrics.read_text())
    prefix = f"{section}_" if section else ""
    columns = {group: [averages[f"{prefix}{name}"][group] for name in ("pq", "sq", "rq")] for group in GROUPS}
    return Scores(classes, {group: None if None in values else Mean(*values) for group, values in columns.items()})


RUNNER = Runner(
    "panoptic-pipeline", (), {"pq": score, "boundary_pq": lambda case, files: score(case, files, "boundary")}
)

if __name__ == "__main__":
    main(RUNNER)
