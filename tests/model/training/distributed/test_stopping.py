"""Leaving on request, and two trainers on one state."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from model.training.distributed.ownership import Ownership, StateTakenError
from model.training.distributed.stopping import shielded, stop_requests


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_signals_are_noted_and_handlers_put_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_requests() as requested:
        assert not requested()
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
        assert requested()
    assert signal.getsignal(number) is before


def test_what_was_started_under_a_shield_outlives_the_signals() -> None:
    with stop_requests() as requested:
        with shielded():
            program = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"]
            ended = subprocess.run(program)
            os.kill(os.getpid(), signal.SIGTERM)
        assert requested()
    assert ended.returncode == 0


def test_the_last_trainer_to_start_goes_on_and_the_other_stops(tmp_path: Path) -> None:
    first, second = Ownership(tmp_path), Ownership(tmp_path)
    first.claim()
    first.check()
    second.claim()
    second.check()
    with pytest.raises(StateTakenError, match=r"process \d+ on .* has taken over this run"):
        first.check()


def test_processes_that_torchrun_started_again_do_not_take_a_state_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Ownership(tmp_path, "old").claim()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    Ownership(tmp_path, "old").claim()
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT")
    Ownership(tmp_path, "new").claim()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "2")
    with pytest.raises(StateTakenError):
        Ownership(tmp_path, "old").claim()


def test_a_finished_run_is_not_written_over(tmp_path: Path) -> None:
    with pytest.raises(StateTakenError, match="another trainer has finished this run"):
        Ownership(tmp_path).check()
