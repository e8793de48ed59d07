"""Run a command in its own session, read its output line by line, and leave no process behind however it ends.

DVC starts a stage through a shell, and the stage starts loader workers. A signal to the first process alone would leave
the others running, so the command leads a process group that is ended as a whole, by a small program that survives when
this one is killed: `pipelines.process.guard`.
"""

import codecs
import os
import queue
import re
import shlex
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.process import guard

GRACE_SECONDS = 10.0
TAIL_LINES = 40
_POLL_SECONDS = 0.1
# A carriage return at the end of the text read so far may be the first half of "\r\n".
_LINE = re.compile(r"([^\r\n]*)(\r\n|\n|\r(?!\Z))")


class CommandError(RuntimeError):
    """A command ended with a nonzero exit status; the message ends with its last lines of output."""


@dataclass(frozen=True)
class OutputLine:
    """One line of a command's output.

    A `transient` line ended in a carriage return: a progress bar, which its next update overwrites.
    """

    text: str
    transient: bool


Show = Callable[[OutputLine], None]
_Lines = queue.Queue[OutputLine | None]
_running: set[subprocess.Popen[bytes]] = set()
_ending = threading.Event()


def run_in_session(
    command: Sequence[str],
    show: Show,
    folder: Path,
    environment: Mapping[str, str],
    grace_seconds: float = GRACE_SECONDS,
    wanted: Callable[[], bool] = lambda: True,
) -> None:
    """Run `command` in `folder` and pass each line of its output to `show` as soon as it is written.

    Standard output and standard error are one stream. No process of the command's group outlives this function, whether
    it returns or raises (a timeout, an interrupt, an error in `show`), or this program is killed: they receive SIGTERM
    and, after `grace_seconds`, SIGKILL. The same happens once `wanted`, called several times a second, returns False.

    Raises:
        CommandError: The exit status is not 0, `end_all` was called, or the command is no longer wanted.
    """
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    process = subprocess.Popen(
        [sys.executable, guard.__file__, str(grace_seconds), *command],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    _running.add(process)
    if _ending.is_set():  # checked after `end_all` can see the process, so that one of the two ends it
        _let_go(process)
    try:
        lines = _read_in_background(process)
        while process.poll() is None and wanted() and _pass_on(lines, show, tail):
            pass
    finally:
        _let_go(process)
        process.wait()
        _running.discard(process)
    while _pass_on(lines, show, tail):
        pass
    if process.returncode:
        raise CommandError(failure(command, process.returncode, "\n".join(f"  {text}" for text in tail)))


def failure(command: Sequence[str], status: int, output: str) -> str:
    """Describe how a command failed: its status, and its last lines of output or that there are none."""
    said = [line.rstrip() for line in output.splitlines() if line.strip()][-TAIL_LINES:]
    what = f"`{shlex.join(command)}` ended with status {status}"
    return "\n".join([f"{what}; its last output:", *said]) if said else f"{what}, without a message"


def end_all() -> None:
    """Start ending all commands, running or yet to start, in every thread; for a program that is about to exit."""
    _ending.set()
    for process in list(_running):
        _let_go(process)


def _let_go(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()


def _pass_on(lines: _Lines, show: Show, tail: deque[str]) -> bool:
    """Show the next line if there is one soon, and return False at the end of the stream.

    The wait is short because Prefect's timeout is an exception that is raised only between bytecode instructions.
    """
    try:
        line = lines.get(timeout=_POLL_SECONDS)
    except queue.Empty:
        return True
    if line is None:
        lines.put(None)  # for the next call
        return False
    if not line.transient:
        tail.append(line.text)
    show(line)
    return True


def _read_in_background(process: subprocess.Popen[bytes]) -> _Lines:
    lines: _Lines = queue.Queue()
    threading.Thread(target=_read, args=(process, lines), daemon=True).start()
    return lines


def _read(process: subprocess.Popen[bytes], lines: _Lines) -> None:
    """Split the output at line feeds and carriage returns; `None` after the last line ends the stream."""
    assert process.stdout is not None
    decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
    rest = ""
    with process.stdout as stream:
        while chunk := os.read(stream.fileno(), 1 << 16):
            rest += decode(chunk)
            end = 0
            for found in _LINE.finditer(rest):
                end = found.end()
                if found[1]:
                    lines.put(OutputLine(found[1], transient=found[2] == "\r"))
            rest = rest[end:]
    if rest.strip():
        lines.put(OutputLine(rest.strip("\r"), transient=False))
    lines.put(None)
