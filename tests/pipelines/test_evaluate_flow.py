"""Several results are scored by the stage's own command, each into a folder of its own."""

import sys
from pathlib import Path

import pytest

from pipelines.evaluate import evaluate
from pipelines.process.run import CommandError

PROGRAM = """
import json, pathlib, sys
truth, prediction, metrics = sys.argv[2::2]
text = json.loads(pathlib.Path(prediction).read_text())
if "pq" not in text:
    sys.exit("no pq in it")
pathlib.Path(metrics).parent.mkdir(parents=True, exist_ok=True)
found = {"all": text["pq"], "things": float(pathlib.Path(truth).read_text()), "stuff": None}
pathlib.Path(metrics).write_text(json.dumps({"pq": found}))
"""
DVC_YAML = f"""
stages:
  annotate:
    cmd: cp seed truth
    deps: [seed]
    outs: [truth]
  predict:
    cmd: echo not needed && exit 1
    deps: [truth]
    outs: [runs/predict]
  evaluate:
    cmd: {sys.executable} program.py --truth truth --results runs/predict/panoptic.json --out runs/evaluate/metrics.json
    deps: [truth, runs/predict]
    metrics: [runs/evaluate/metrics.json]
"""

pytestmark = pytest.mark.usefixtures("prefect")


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    for name, text in {"dvc.yaml": DVC_YAML, "program.py": PROGRAM, "seed": "0.5"}.items():
        (tmp_path / name).write_text(text)
    for name, text in {"one": '{"pq": 0.25}', "two": '{"pq": 0.75}', "broken": "{}"}.items():
        (tmp_path / "runs" / "others" / name).mkdir(parents=True)
        (tmp_path / "runs" / "others" / name / "panoptic.json").write_text(text)
    return tmp_path


def test_every_result_is_scored(scored: Path) -> None:
    evaluate(["runs/others/one", "runs/others/two"], folder=scored)
    found = {path.parent.name: path.read_text() for path in (scored / "runs" / "evaluations").glob("*/metrics.json")}
    assert found == {
        "one": '{"pq": {"all": 0.25, "things": 0.5, "stuff": null}}',
        "two": '{"pq": {"all": 0.75, "things": 0.5, "stuff": null}}',
    }
    assert not (scored / "runs" / "evaluate").exists()
    assert not (scored / "runs" / "predict").exists()


def test_one_that_fails_keeps_the_others(scored: Path) -> None:
    with pytest.raises(CommandError, match=r"evaluate broken failed.*\n.*\n.*no pq in it"):
        evaluate(["runs/others/broken", "runs/others/two"], folder=scored)
    assert (scored / "runs" / "evaluations" / "two" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([], "0 results"),
        (["runs/others/none"], "no folder of results in this checkout"),
        (["runs/others/one", "runs/others/../others/one"], "have one name"),
    ],
)
def test_what_cannot_be_scored_is_refused(scored: Path, results: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        evaluate(results, folder=scored)
