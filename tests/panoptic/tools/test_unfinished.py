"""Unfinished work is listed with what has changed since, and deleted by name."""

import json
import os
import socket
from pathlib import Path

import pytest

from panoptic.runtime.fingerprint import PROJECT
from panoptic.runtime.resume import note_progress, open_work, resume_identity
from panoptic.tools.unfinished import main


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a training of rate 0.001 and, of an earlier version, another one; params.yaml has 0.002."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("train: {rate: 2e-3, epochs: 5}\nmodel: {}\n")
    identity = resume_identity(
        {"train": {"rate": 1e-3, "epochs": 5, "decay": 0.0}}, code=[PROJECT / "panoptic" / "markdown.py"]
    )
    folder = open_work(Path("runs/state"), "train", identity)
    (folder / "state.pt").write_bytes(bytes(2_000_000))
    note_progress(folder, "step 3 of 8")
    Path("runs/state/0123456789abcdef").mkdir()
    Path("runs/state/jobs").mkdir()
    return folder


def test_work_is_listed(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    lines = sorted(capsys.readouterr().out.splitlines())
    assert len(lines) == 2
    assert lines[0].startswith("0123456789abcdef: nothing done, 0.0 MB, ")
    assert lines[0].endswith("left by another version, which no run resumes")
    assert lines[1].startswith(f"{state.name}: step 3 of 8, 2.0 MB, ")
    assert lines[1].endswith("changed since: train.rate 0.001 -> 0.002")


@pytest.mark.parametrize("more", [[], ["--delete", "all"]])
def test_a_folder_that_is_not_there_is_no_folder_without_work(
    state: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--state", "runs/stat", *more])
    assert "runs/stat: there is no such folder; give that of" in capsys.readouterr().err
    Path("runs/empty").mkdir()
    main(["--state", "runs/empty"])
    assert capsys.readouterr().out == "runs/empty: no unfinished work\n"


def test_there_is_no_unfinished_work_before_the_first_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for options in ([], ["--delete", "all"]):
        main(options)
    assert capsys.readouterr().out == "runs/state: no unfinished work\n"
    with pytest.raises(SystemExit):
        main(["--delete", "train-1"])
    assert "runs/state: there is no unfinished work 'train-1'; found: none" in capsys.readouterr().err


def test_work_is_deleted_by_name(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--delete", "other"])
    assert f"no unfinished work 'other'; found: {state.name}" in capsys.readouterr().err
    main(["--delete", state.name])
    assert capsys.readouterr().out == f"deleted {state} (2.0 MB)\n"
    main(["--delete", "all"])
    assert [path.name for path in state.parent.iterdir()] == ["jobs"]


def test_work_in_progress_is_kept(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (state / "owner.json").write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
    with pytest.raises(SystemExit):
        main(["--delete", "all"])
    assert f"process {os.getpid()} is working on it" in capsys.readouterr().err
    assert state.exists()
