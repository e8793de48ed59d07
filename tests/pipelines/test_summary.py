"""The last lines of `make run`: the scores, and what was written where."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.summary import main, summary
from tests.panoptic_segformer.programs import ROOT


def test_scores_in_percent_and_only_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "runs/evaluate").mkdir(parents=True)
    (tmp_path / "runs/predict/images").mkdir(parents=True)
    metrics = {"pq": {"all": 0.5, "things": 0.25, "stuff": None}, "miou": 0.75, "ap": {"segm": {"AP": 0.125}}}
    (tmp_path / "runs/evaluate/metrics.json").write_text(json.dumps(metrics))
    table, _, rest = summary(tmp_path).partition("\n\n")
    rows = [line.split() for line in table.splitlines()]
    assert rows[0] == ["percent", "PQ", "SQ", "RQ", "boundary", "PQ", "mIoU", "mask", "AP", "box", "AP"]
    assert rows[2:] == [
        ["all", "50.0", "-", "-", "-", "75.0"],
        ["things", "25.0", "-", "-", "-", "12.5", "-"],
        ["stuff", "-", "-", "-", "-"],
    ]
    assert [line.split()[0] for line in rest.splitlines()[:-2]] == ["runs/predict/images", "runs/evaluate"]


def test_it_ends_with_the_address_of_the_report(tmp_path: Path) -> None:
    (tmp_path / "runs/evaluate").mkdir(parents=True)
    (tmp_path / "runs/evaluate/metrics.json").write_text("{}")
    (tmp_path / "runs/report.html").write_bytes(bytes(2_340_000))
    assert summary(tmp_path).splitlines()[-2:] == [
        "Read or send the report: runs/report.html (2.3 MB)",
        f"  {(tmp_path / 'runs/report.html').as_uri()}",
    ]


def test_without_scores_it_says_how_to_compute_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["summary"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert capsys.readouterr().err.endswith("no scores yet; compute them with `dvc repro evaluate`\n")


def test_outside_a_checkout_it_says_where_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["summary"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}: is no checkout of the project (it has no dvc.yaml)")


def test_a_full_disk_and_a_removed_folder_end_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "runs/evaluate").mkdir(parents=True)
    (tmp_path / "runs/evaluate/metrics.json").write_text('{"pq": {"all": 0.5}}')
    command = [sys.executable, "-m", "panoptic_segformer", "results"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, cwd=tmp_path, env=environment, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: could not write standard output")
    gone = ["bash", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "bash", *command]
    done = subprocess.run(gone, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: the current folder has been removed; change to another one\n"
