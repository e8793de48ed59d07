"""Leaving in good order: a signal asks the run to save its state and to end, after the step that it is in."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPED = 75
"""Exit status of a run that was asked to end and can go on (EX_TEMPFAIL of sysexits.h)."""
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What SLURM, torchrun and service managers send some time before they kill."""


class StoppedError(Exception):
    """The run was asked to end; its state is saved."""


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Take note of signals instead of dying of them; gives a function that tells whether one has come.

    Repeated signals change nothing, because SLURM and torchrun both send theirs to the same process.
    """
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def shielded() -> Iterator[None]:
    """What is started in this block never sees the signals; this process may see them only after it.

    SLURM and terminals send theirs to every process of a job: what works for the run would die before it could save.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
