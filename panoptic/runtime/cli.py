"""Running a command so that wrong input and signals end in one clear message, and leave nothing behind."""

import ctypes
import io
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from panoptic.runtime.text_encoding import require_utf8

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a command, with status 128 + their number."""
ENDS_WITH = "PANOPTIC_ENDS_WITH"
"""Variable of the environment with the process that this one must not outlive."""
_PR_SET_PDEATHSIG = 1  # of linux/prctl.h


class InterruptedCommand(KeyboardInterrupt):
    """A signal asked the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run_command(command: Callable[[], None]) -> None:
    """Run the body of a command. On wrong input, or a lack of disk or memory, end it with one message and status 2.

    With `TRACEBACK=1` in the environment the error is raised as it is, to show where it comes from. A reader of the
    output that ends early (`| head`) does not stop the work: what is printed after that is dropped. Ctrl-C, SIGTERM and
    SIGHUP end it with one line, once temporary files are removed; a second Ctrl-C ends it at once.
    """
    require_utf8()
    _survive_closed_pipes()
    end_with_parent()
    try:
        with _signals_raised():
            command()
    except KeyboardInterrupt as interrupt:
        number = interrupt.number if isinstance(interrupt, InterruptedCommand) else signal.SIGINT
        print(said_on(number), end="", file=sys.stderr, flush=True)
        sys.exit(128 + number)
    except (ValueError, OSError, MemoryError) as error:
        if os.environ.get("TRACEBACK"):
            raise
        what = "out of memory; " if isinstance(error, MemoryError) else ""
        print(f"error: {what}{error}", file=sys.stderr)
        sys.exit(2)


def said_on(number: int) -> str:
    """Return the line with which a command ends that received a signal."""
    return f"ended by {signal.Signals(number).name}; repeat the command to resume, or to start again\n"


def end_quietly_until_run() -> None:
    """Make a signal, or the end of its parent, end a program while it still imports; `run_command` takes over then.

    For the package of a command that Python was started with (`-m`); otherwise it does nothing.
    """
    if sys.argv[:1] == ["-m"]:
        end_with_parent()
        for number in _unhandled():
            signal.signal(number, _exit_at_once)


@contextmanager
def _signals_raised() -> Iterator[None]:
    """Raise `InterruptedCommand` on a signal, in the main thread; another Ctrl-C ends the program."""
    before = {number: signal.signal(number, _interrupt) for number in _unhandled()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _unhandled() -> list[signal.Signals]:
    """The signals that nobody else handles or ignores."""
    if threading.current_thread() is not threading.main_thread():
        return []
    ours = (signal.SIG_DFL, signal.default_int_handler, _exit_at_once)
    return [number for number in ENDING if signal.getsignal(number) in ours]


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    # Schedulers repeat SIGTERM, which must not interrupt the cleaning up; who presses Ctrl-C again wants no more of it.
    for other in ENDING:
        signal.signal(other, _exit_at_once if other == signal.SIGINT else ignore)
    raise InterruptedCommand(number)


def ignore(_number: int, _frame: FrameType | None) -> None:
    """Handle a signal by doing nothing; with SIG_IGN, Python prints an error about one that has just arrived."""


def _exit_at_once(number: int, _frame: FrameType | None) -> NoReturn:
    os.write(2, said_on(number).encode())  # printing is not safe in the middle of another print
    os._exit(128 + number)


def ending_with_this() -> Mapping[str, str]:
    """Return an environment for a command that this process starts, and that is to end with it."""
    return {**os.environ, ENDS_WITH: str(os.getpid())}


def end_with_parent() -> None:
    """Let the system kill this process as soon as its parent is gone, if the parent said so in the environment.

    A process that torchrun started always ends with it: the others of a run would go on without an agent.
    """
    parent = os.environ.pop(ENDS_WITH, None)
    if parent is None and "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    be_killed_with_parent()
    if parent is not None and os.getppid() != int(parent):  # it was gone before
        os._exit(128 + signal.SIGKILL)


class _OpenEnded(io.TextIOWrapper):
    """A stream that drops what a closed pipe no longer takes."""

    def write(self, text: str, /) -> int:
        with suppress(BrokenPipeError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(BrokenPipeError):
            super().flush()


def _survive_closed_pipes() -> None:
    """Where standard output or standard error is a pipe, replace it by one that may be closed at its other end."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or stream is not getattr(sys, f"__{name}__"):  # replaced by a test, or closed
            continue
        if stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode):
            stream.flush()
            lines = stream.line_buffering or stream.write_through
            binary = os.fdopen(stream.fileno(), "wb", closefd=False)
            setattr(sys, name, _OpenEnded(binary, stream.encoding, stream.errors, line_buffering=lines))


def be_killed_with_parent() -> None:
    """Have this process killed by the system when the thread that started it is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
