"""hotcoco, in Rust."""

from collections.abc import Mapping
from typing import Any

from conformance.case import Case, Mean, Quality, Scores
from conformance.files import Files
from conformance.runners.harness import Runner, main


def score(case: Case, files: Files) -> Scores:
    """PQ."""
    from hotcoco.panoptic import PanopticEval

    evaluation = PanopticEval(
        files.gt_json, files.prediction_json, gt_folder=files.gt_folder, pred_folder=files.prediction_folder
    )
    evaluation.evaluate()
    results = evaluation.results()
    classes = {
        int(key): Quality(row["tp"], row["fp"], row["fn"], row["iou"], row["pq"], row["sq"], row["rq"])
        for key, row in results["per_class"].items()
        if row["tp"] + row["fp"] + row["fn"] > 0
    }
    return Scores(classes, {group: _mean(results[group.title()]) for group in ("all", "things", "stuff")})


def _mean(row: Mapping[str, Any]) -> Mean | None:
    return Mean(row["pq"], row["sq"], row["rq"]) if row["n"] else None


RUNNER = Runner("hotcoco", ("hotcoco",), {"pq": score}, lacks="has no boundary PQ")

if __name__ == "__main__":
    main(RUNNER)
