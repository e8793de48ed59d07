"""Stopping on request, and two trainers with the same state."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest

from model.training.distributed.ownership import Ownership, StateTakenError
from model.training.distributed.stopping import shielded, stop_requests


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_signals_are_recorded_and_handlers_restored(signum: signal.Signals) -> None:
    before = signal.getsignal(signum)
    with stop_requests() as requested:
        assert not requested()
        os.kill(os.getpid(), signum)
        assert requested() == signum
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert requested() == signum, "the first one decides"
    assert signal.getsignal(signum) is before


@pytest.mark.parametrize("agent", [False, True])
def test_another_ctrl_c_does_not_wait_unless_agents_may_repeat_it(monkeypatch: pytest.MonkeyPatch, agent: bool) -> None:
    if agent:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "run")
    with stop_requests() as requested:
        signal.raise_signal(signal.SIGINT)
        with nullcontext() if agent else pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert requested() == signal.SIGINT


def test_processes_started_under_a_shield_survive_the_signals() -> None:
    with stop_requests() as requested:
        with shielded():
            program = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"]
            ended = subprocess.run(program)
            # To this thread, which blocks it; other threads of the test's process do not.
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
            assert not requested()
        assert requested()
    assert ended.returncode == 0


def test_the_last_trainer_to_start_continues_and_the_other_stops(tmp_path: Path) -> None:
    first, second = Ownership(tmp_path), Ownership(tmp_path)
    first.claim()
    first.check()
    second.claim()
    second.check()
    with pytest.raises(StateTakenError, match=r"process \d+ on .* has taken over this run"):
        first.check()


def test_processes_that_torchrun_restarted_do_not_reclaim_a_state(
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


def test_a_finished_run_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(StateTakenError, match="another trainer has finished this run"):
        Ownership(tmp_path).check()
