"""The stage's own command scores several sets of predictions, each into its own folder."""

import sys
from pathlib import Path

import pytest

from pipelines.evaluate import evaluate
from pipelines.process.session import CommandError
from tests.pipelines.services import write_dvc_project

PROGRAM = """
import json, pathlib, sys
ground_truth, prediction, metrics = sys.argv[2::2]
text = json.loads(pathlib.Path(prediction).read_text())
if "pq" not in text:
    sys.exit("no pq in it")
pathlib.Path(metrics).parent.mkdir(parents=True, exist_ok=True)
found = {"all": text["pq"], "things": float(pathlib.Path(ground_truth).read_text()), "stuff": None}
pathlib.Path(metrics).write_text(json.dumps({"pq": found}))
"""
DVC_YAML = f"""
stages:
  annotate:
    cmd: cp seed gt
    deps: [seed]
    outs: [gt]
  predict:
    cmd: echo not needed && exit 1
    deps: [gt]
    outs: [runs/predict]
  evaluate:
    cmd: {sys.executable} program.py --gt gt --results runs/predict/panoptic.json --out runs/evaluate/metrics.json
    deps: [gt, runs/predict]
    metrics: [runs/evaluate/metrics.json]
"""

pytestmark = pytest.mark.usefixtures("prefect")


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    write_dvc_project(tmp_path, DVC_YAML)
    for name, text in {"program.py": PROGRAM, "seed": "0.5"}.items():
        (tmp_path / name).write_text(text)
    for name, text in {"one": '{"pq": 0.25}', "two": '{"pq": 0.75}', "broken": "{}"}.items():
        (tmp_path / "runs" / "others" / name).mkdir(parents=True)
        (tmp_path / "runs" / "others" / name / "panoptic.json").write_text(text)
    return tmp_path


def test_all_predictions_are_scored(scored: Path) -> None:
    evaluate(["runs/others/one", "runs/others/two"], folder=scored)
    found = {path.parent.name: path.read_text() for path in (scored / "runs" / "evaluations").glob("*/metrics.json")}
    assert found == {
        "one": '{"pq": {"all": 0.25, "things": 0.5, "stuff": null}}',
        "two": '{"pq": {"all": 0.75, "things": 0.5, "stuff": null}}',
    }
    assert not (scored / "runs" / "evaluate").exists()
    assert not (scored / "runs" / "predict").exists()


def test_a_failure_keeps_the_other_scores(scored: Path) -> None:
    with pytest.raises(CommandError, match=r"evaluate broken failed.*\n.*\n.*no pq in it"):
        evaluate(["runs/others/broken", "runs/others/two"], folder=scored)
    assert (scored / "runs" / "evaluations" / "two" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ([], "0 results"),
        (["runs/others/none"], "not a folder of predictions in this checkout"),
        (["runs/others/one", "runs/others/../others/one"], "have the same name"),
    ],
)
def test_folders_that_cannot_be_scored_are_refused(scored: Path, results: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(results, folder=scored)
