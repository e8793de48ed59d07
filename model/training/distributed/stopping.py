"""Stopping in an orderly way: a signal makes the run save its state and exit after the current step."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPED = 75
"""Exit status of a run that was asked to stop and can be resumed (EX_TEMPFAIL of sysexits.h)."""
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""Signals that SLURM, torchrun and service managers send some time before they kill."""


class StoppedError(Exception):
    """The run was asked to stop; its state is saved."""


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Record signals instead of dying from them; yields a function that tells whether one has arrived.

    Repeated signals change nothing, because SLURM and torchrun both signal the same process.
    """
    received: list[int] = []

    def record(signum: int, _frame: FrameType | None) -> None:
        received.append(signum)

    before = {signum: signal.signal(signum, record) for signum in SIGNALS}
    try:
        yield lambda: bool(received)
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def shielded() -> Iterator[None]:
    """Block the signals in this process for the block, and for good in processes that are started in it.

    SLURM and terminals signal every process of a job; without this, helper processes would die before the run has
    saved its state.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
