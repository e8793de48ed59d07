"""Loggers are programs of their own: none runs unless it is chosen, and whatever becomes of one, training goes on."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from model.training import loggers
from model.training.loggers import LOGGERS, LoggerSettings, followed_by_loggers
from panoptic.loggers.packages import PACKAGES


def test_every_logger_has_a_program() -> None:
    assert tuple(PACKAGES) == LOGGERS


def test_nothing_is_started_unless_it_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(subprocess, "Popen")
    with followed_by_loggers(LoggerSettings(folder=str(tmp_path / "loggers")), tmp_path, "run", {}):
        pass
    assert not list(tmp_path.iterdir())


def test_an_unknown_logger_is_refused() -> None:
    with pytest.raises(ValueError, match=r"loggers.names\[0\] is 'csv'; choose one of tensorboard, mlflow, wandb"):
        LoggerSettings(names=["csv"])


def test_a_package_that_is_missing_is_said_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    settings = LoggerSettings(names=["wandb"])
    with (
        pytest.raises(ValueError, match="wandb, which is not installed; run `make install EXTRAS=dev,curves`"),
        followed_by_loggers(settings, tmp_path, "run", {}),
    ):
        pytest.fail("training has begun")


@pytest.mark.parametrize(
    ("program", "issue"),
    [
        ("import time; time.sleep(600)", "it had not finished after 1 seconds"),
        ("import os; os.kill(os.getpid(), 9)", "it was killed by signal 9"),
        (None, "No such file or directory"),
        ("import sys; sys.stdin.read(); sys.exit(1)", ""),  # it has said itself what was wrong
        ("import sys; sys.stdin.read()", ""),
    ],
)
def test_what_becomes_of_a_logger_is_said_in_a_line(
    program: str | None,
    issue: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    command = [sys.executable, "-c", program] if program else [str(tmp_path / "python")]
    monkeypatch.setattr(loggers, "_command", lambda *_: command)
    monkeypatch.setattr(loggers, "_PATIENCE", 1.0 if "sleep" in str(program) else 600.0)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    with followed_by_loggers(LoggerSettings(names=["mlflow", "mlflow"]), tmp_path, "run", {}):
        pass
    said = capfd.readouterr().err.splitlines()
    assert len(said) == bool(issue)
    assert all(line.startswith("warning: mlflow may lack some of the curves: ") and issue in line for line in said)
