"""Checks that repeat the evaluation of the stored predictions, and compare it with what the training measured."""

import subprocess
import sys
from math import isnan
from pathlib import Path

from model.inference.settings import InferenceSettings
from model.verify.check import (
    FAILED,
    NOT_MADE,
    OK,
    Check,
    Run,
    compare_json,
    first,
    last_row,
    settings_file,
    settings_of,
)
from panoptic.io.json_fields import load_json, read_json
from panoptic.io.working_folder import working_folder
from panoptic.runtime.cli import ending_with_this
from panoptic.runtime.fingerprint import PROJECT

_SCORES = {
    "--metrics": "scores/metrics.json",
    "--summary": "scores/summary.json",
    "--per-class": "scores/per_class.json",
    "--per-image": "scores/per_image.json",
    "--error-breakdown": "scores/error_breakdown.json",
}
"""Files of stages.evaluate by the option that names them."""
_SAME_QUALITY = 0.05
"""Difference in percent of PQ that is allowed between the last validation of the training and the scores."""
_SAME_SCORE = 1e-9


def check_scores(run: Run) -> Check:
    """Score the stored predictions again with stages.evaluate, and compare every number in its files."""
    needed = {
        "--ground-truth-index": run.data("val index"),
        "--predictions-json": run.result("predictions/panoptic.json"),
        "--predictions-folder": run.result("predictions/panoptic"),
        "--instances-ground-truth": run.result("instances ground truth"),
        "--instances-predictions": run.result("predictions/instances.json"),
    }
    given = {option: path for option, path in needed.items() if path is not None and path.exists()}
    if missing := [option.removeprefix("--") for option in list(needed)[:3] if option not in given]:
        return Check("scores", NOT_MADE, f"not there: {', '.join(missing)}")
    if len(given) < len(needed):
        given = {option: path for option, path in given.items() if "instances" not in option}
    wrong, compared = list[str](), 0
    assert run.results is not None
    with working_folder() as folder, settings_file(run.results) as params:
        outs = {option: folder / Path(name).name for option, name in _SCORES.items()}
        words = [word for option, path in (given | outs).items() for word in (option, str(path))]
        command = [sys.executable, "-m", "stages.evaluate", "--params", str(params), *words]
        environment = {**ending_with_this(), "PYTHONPATH": str(PROJECT)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            return Check("scores", FAILED, f"the predictions cannot be scored: {done.stderr.strip()[-400:]}")
        for option, name in _SCORES.items():
            stored = run.result(name)
            if stored is not None and outs[option].is_file():
                compared += 1
                wrong += compare_json(load_json(outs[option]), load_json(stored), Path(name).name, _SAME_SCORE)
    return Check("scores", FAILED if wrong else OK, first(wrong) or f"{compared} files recomputed from the predictions")


def check_last_validation(run: Run) -> Check:
    """Compare the last row of the quality curve, which the training wrote, with the scores of the same weights."""
    name, metrics, curve = "last validation", run.result("scores/metrics.json"), run.weight_file("quality curve")
    assert run.results is not None
    if metrics is None or curve is None:
        return Check(name, NOT_MADE, "the quality curve or the metrics are not there")
    if settings_of(run.weights, "predict", InferenceSettings) != settings_of(run.results, "predict", InferenceSettings):
        return Check(name, NOT_MADE, "the settings of prediction were changed after the training")
    last = last_row(curve)
    quality = read_json(metrics).child("pq").values
    rows = {group: (last.get(group, float("nan")), 100 * _number(quality[group])) for group in quality}
    wrong = [
        f"PQ of {group} is {scored:.4f}, the training measured {trained:.4f}"
        for group, (trained, scored) in rows.items()
        if isnan(trained) != isnan(scored) or abs(trained - scored) > _SAME_QUALITY
    ]
    steps = run.weights.section("training").integer("steps")
    wrong += [f"the curve ends at step {last['step']:g}, expected {steps}"] if last["step"] != steps else []
    measured = ", ".join(f"{group} {trained:.2f}" for group, (trained, _) in rows.items())
    return Check(name, FAILED if wrong else OK, first(wrong) or f"the training measured the same PQ: {measured}")


def _number(value: object) -> float:
    return float("nan") if value is None else float(str(value))
