"""Stopping in an orderly way: a signal makes the run save its state and exit after the current step."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPED = 75
"""Exit status of a run that was asked to stop and can be resumed (EX_TEMPFAIL of sysexits.h)."""
INTERRUPTED = 128 + signal.SIGINT
"""Exit status of such a run if it was asked by Ctrl-C, with which a shell stops a script."""
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
"""Signals that SLURM, torchrun, service managers and terminals send, some time before they kill."""


class StoppedError(Exception):
    """The run was asked to stop by the signal `number`; its state is saved."""

    def __init__(self, message: str, number: int) -> None:
        """Keep the signal, which decides the exit status."""
        super().__init__(message)
        self.status = INTERRUPTED if number == signal.SIGINT else STOPPED


@contextmanager
def stop_requests() -> Iterator[Callable[[], int]]:
    """Record signals instead of dying from them; yields a function that tells which one has arrived first, 0 for none.

    Repeated signals change nothing, because SLURM and torchrun both signal the same process. Only who presses Ctrl-C
    again, at a run that is not below torchrun's agent, does not want to wait for the end of the step.
    """
    received: list[int] = []

    def record(signum: int, _frame: FrameType | None) -> None:
        if signum == signal.SIGINT and signum in received and "TORCHELASTIC_RUN_ID" not in os.environ:
            raise KeyboardInterrupt
        received.append(signum)

    before = {signum: signal.signal(signum, record) for signum in SIGNALS}
    try:
        yield lambda: received[0] if received else 0
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def shielded() -> Iterator[None]:
    """Block the signals in this process for the block, and for good in processes that are started in it.

    SLURM and terminals signal every process of a job; without this, helper processes would die before the run has
    saved its state. Whoever starts them has to end them: by a request, or by SIGKILL.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
