"""The chain benchmark: it runs what DVC runs, step by step, and its page shows time, rate and memory."""

import shlex
from pathlib import Path

import pytest
import yaml

from benchmarks.chain.__main__ import ROOT, chain_commands, main
from benchmarks.chain.report import ChainReport, StepCost, chain_page
from tests.markdown import unpadded


def test_the_page_has_rates_and_sums() -> None:
    steps = StepCost("check", 4.0, 2.5, 160, 64 * 2**20), StepCost("train", 50.0, 90.0, 100, 0)
    page = unpadded(chain_page(ChainReport("some machine", 2, "photos", ("train.epochs: 6 -> 1",), steps)))
    assert "| check | 4.0 | 2.5 | 160 | 40.0 | 64 |" in page
    assert "| train | 50.0 | 90.0 | 100 | 2.0 | |" in page
    assert "| total | 54.0 | 92.5 | | | |" in page
    assert "- `train.epochs: 6 -> 1`" in page


def test_every_step_that_makes_results_runs_in_an_order_that_dvc_allows() -> None:
    commands = chain_commands(Path("data"))
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert commands.keys() == {"check", *stages} - {"complexity", "explain", "passport"}
    assert commands["predict"] == shlex.split(stages["predict"]["cmd"])
    written = {"runs/download"}
    for name in list(commands)[1:]:
        stage = stages[name]
        read = {dep for dep in stage["deps"] if dep.startswith("runs/")}
        read -= {"runs/complexity/rows.json", "runs/explain", "runs/passport.json"}  # a report does without
        assert all(any(dep.startswith(one) for one in written) for dep in read), name
        outs = (*stage.get("outs", ()), *stage.get("metrics", ()), *stage.get("plots", ()))
        written |= {next(iter(out)) if isinstance(out, dict) else out for out in outs}


def test_a_step_that_fails_ends_the_benchmark_with_its_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--data", str(tmp_path / "nothing"), "--threads", "1", "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert f"panoptic.tools.check {tmp_path / 'nothing'}" in said
    assert "there is no such" in said
    assert said.startswith("check ..."), "the step is named before it runs"
    assert not (tmp_path / "out").exists()
