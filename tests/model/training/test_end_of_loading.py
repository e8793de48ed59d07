"""The end of the processes that load batches."""

import os
import signal
import threading
from multiprocessing import active_children
from types import FrameType
from typing import cast

import pytest
from torch import zeros
from torch.utils.data import DataLoader, TensorDataset

from model.training.batch import PackedBatch
from model.training.loading import loaded
from panoptic.runtime.parallel import DeadWorkerError


def _fail(_number: int, _frame: FrameType | None) -> None:
    raise RuntimeError("a worker was killed")  # as torch's handler does


class _TimerAmongDeaths(threading.Timer):
    def start(self) -> None:
        for worker in active_children():
            os.kill(worker.pid or 0, signal.SIGKILL)
            worker.join()
        super().start()


@pytest.mark.parametrize("raised", [EOFError(), ConnectionResetError(), RuntimeError("is killed")])
def test_a_broken_connection_to_a_killed_worker_is_its_death(raised: Exception) -> None:
    loader = cast("DataLoader[PackedBatch]", DataLoader(TensorDataset(zeros(8)), num_workers=2))

    def lose_a_worker() -> None:
        with loaded(loader) as batches:
            next(batches)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # so that the connection is what tells
            os.kill(active_children()[0].pid or 0, signal.SIGKILL)
            raise raised

    before = signal.getsignal(signal.SIGCHLD)
    try:
        with pytest.raises(DeadWorkerError, match="was killed by SIGKILL"):
            lose_a_worker()
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_death_that_is_told_while_it_is_waited_for_is_still_the_reason() -> None:
    loader = cast("DataLoader[PackedBatch]", DataLoader(TensorDataset(zeros(8)), num_workers=1))
    before = signal.getsignal(signal.SIGCHLD)

    def lose_the_connection_before_the_worker() -> None:
        with loaded(loader) as batches:
            next(batches)
            signal.signal(signal.SIGCHLD, _fail)
            threading.Timer(0.2, os.kill, [active_children()[0].pid or 0, signal.SIGKILL]).start()
            raise EOFError

    try:
        with pytest.raises(DeadWorkerError, match="was killed by SIGKILL"):
            lose_the_connection_before_the_worker()
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_worker_that_is_killed_at_the_end_does_not_hide_why_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = cast("DataLoader[PackedBatch]", DataLoader(TensorDataset(zeros(8)), num_workers=2))
    monkeypatch.setattr(threading, "Timer", _TimerAmongDeaths)
    before = signal.getsignal(signal.SIGCHLD)

    def fail_on_the_second_batch() -> None:
        with loaded(loader) as batches:
            next(batches)
            signal.signal(signal.SIGCHLD, _fail)
            raise ValueError("the first error")

    try:
        with pytest.raises(ValueError, match="the first error"):
            fail_on_the_second_batch()
        assert signal.getsignal(signal.SIGCHLD) is _fail
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert active_children() == []
