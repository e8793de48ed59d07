"""The last lines of `make run`: the scores, and what was written where."""

import json
from pathlib import Path

import pytest

from pipelines.summary import main, summary


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
    assert main() == 2
    assert capsys.readouterr().err.endswith("no scores yet; compute them with `dvc repro evaluate`\n")


def test_outside_a_checkout_it_says_where_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["summary"])
    assert main() == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}: is no checkout of the project (it has no dvc.yaml)")
