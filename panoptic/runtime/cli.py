"""Parsers of commands that look alike, and running one so that wrong input and signals end in one clear message."""

import ctypes
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from panoptic.io.errors import describe_os_error, is_lack_of_memory
from panoptic.io.printable import printable_output
from panoptic.runtime.text_encoding import require_utf8

if TYPE_CHECKING:
    from argparse import ArgumentParser

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a command, with status 128 + their number."""
ENDS_WITH = "PANOPTIC_ENDS_WITH"
"""Variable of the environment with the process that this one must not outlive."""
_STDERR = 2  # the number of standard error, the last of the standard streams
_PR_SET_PDEATHSIG = 1  # of linux/prctl.h


class InterruptedCommand(KeyboardInterrupt):
    """A signal asked the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def command_parser(name: str, document: str, examples: str, details: str = "") -> "ArgumentParser":
    """Make the parser of the command `panoptic NAME`.

    Args:
        name: of the command, as the table in `panoptic_segformer.commands` has it.
        document: the module's docstring, whose first line describes the command.
        examples: command lines for the end of `--help`, one a line.
        details: further paragraphs of the description.
    """
    from argparse import ArgumentParser, RawDescriptionHelpFormatter  # once signals are handled

    lines = "\n".join(f"  {line}" for line in examples.strip().splitlines())
    return ArgumentParser(
        prog=f"panoptic {name}",
        description=f"{document.strip().splitlines()[0]}\n\n{details.strip()}".rstrip(),
        epilog=f"examples:\n{lines}",
        formatter_class=RawDescriptionHelpFormatter,
    )


def run_command(command: Callable[[], None]) -> None:
    """Run the body of a command. On wrong input, or a lack of disk or memory, end it with one message and status 2.

    With `TRACEBACK=1` in the environment the error is raised as it is, to show where it comes from. A reader of the
    output that ends early (`| head`) does not stop the work: what is printed after that is dropped. Ctrl-C, SIGTERM and
    SIGHUP end it with one line, once temporary files are removed; a second Ctrl-C ends it at once.
    """
    require_utf8()
    _replace_streams()
    end_with_parent()
    try:
        with _signals_raised():
            _require_current_folder()
            command()
            sys.stdout.flush()
    except KeyboardInterrupt as interrupt:
        number = interrupt.number if isinstance(interrupt, InterruptedCommand) else signal.SIGINT
        print(said_on(number), end="", file=sys.stderr, flush=True)
        sys.exit(128 + number)
    except Exception as error:
        is_known = isinstance(error, ValueError | OSError)
        if os.environ.get("TRACEBACK") or not (is_known or is_lack_of_memory(error)):
            raise
        print(f"error: {_described(error)}", file=sys.stderr)
        sys.exit(2)


def _described(error: Exception) -> str:
    if isinstance(error, OSError):
        return describe_os_error(error)
    if isinstance(error, ValueError):
        return str(error)
    return f"out of memory; {str(error).strip() or 'use smaller images or batches'}"


def _require_current_folder() -> None:
    """Check that relative paths lead somewhere. Raises `OSError` if the current folder was removed."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise OSError("the current folder has been removed; change to another one") from error


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


class _Output(io.TextIOWrapper):
    """A standard stream that is safe to print names of files to.

    It drops what a closed pipe no longer takes, and names itself if the disk is full.
    """

    def write(self, text: str, /) -> int:
        with self._naming_errors(), suppress(BrokenPipeError):
            super().write(printable_output(text))
        return len(text)

    def flush(self) -> None:
        with self._naming_errors(), suppress(BrokenPipeError):
            super().flush()

    @contextmanager
    def _naming_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())  # Python would try again at the end
            os.close(nowhere)
            stream = {1: "standard output", 2: "standard error"}.get(self.fileno(), "the output")
            hint = "free disk space, or send it elsewhere"
            raise OSError(f"could not write {stream}: {error.strerror}; {hint}") from error


def _replace_streams() -> None:
    """Replace standard streams by ones that may be closed at their other end, or lead nowhere if they are closed here.

    Without the latter, a file that is opened would take the number of a closed one, to which libraries write.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))
        elif stream is getattr(sys, f"__{name}__"):  # else replaced by a test
            stream.flush()
            lines = stream.line_buffering or stream.write_through
            binary = os.fdopen(stream.fileno(), "wb", closefd=False)
            setattr(sys, name, _Output(binary, stream.encoding, stream.errors, line_buffering=lines))


def be_killed_with_parent() -> None:
    """Have this process killed by the system when the thread that started it is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
