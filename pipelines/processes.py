"""A command in a session of its own: its output line by line, and no process left behind, however it ends.

DVC starts a stage through a shell, and the stage starts loader workers. A signal to the first process alone
would leave the others running, so the command leads a process group, and the group is ended as one.
"""

import codecs
import os
import queue
import re
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

GRACE_SECONDS = 10.0
TAIL_LINES = 40
_KILL_SECONDS = 2.0  # for the system to carry out a SIGKILL
_POLL_SECONDS = 0.1
# A carriage return that is the last thing read so far may be the first half of "\r\n".
_LINE = re.compile(r"([^\r\n]*)(\r\n|\n|\r(?!\Z))")


class CommandError(RuntimeError):
    """A command ended with another exit status than 0. The message carries the last lines that it wrote."""


@dataclass(frozen=True)
class OutputLine:
    """One line that a command wrote.

    `transient` lines ended in a carriage return: a progress bar, about to be drawn over by its next state.
    """

    text: str
    transient: bool


Show = Callable[[OutputLine], None]
_Lines = queue.Queue[OutputLine | None]


def run_in_session(
    command: Sequence[str],
    show: Show,
    folder: Path,
    environment: Mapping[str, str],
    grace_seconds: float = GRACE_SECONDS,
) -> None:
    """Run `command` in `folder` and hand every line of its output to `show` as soon as it is written.

    Standard output and standard error come as one stream. However this function is left, by return or by
    any exception (a timeout, an interrupt, an error in `show`), no process of the command's group outlives
    it: they get SIGTERM, and those still there after `grace_seconds` SIGKILL.

    Raises:
        CommandError: the exit status is not 0.
    """
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        lines = _read_in_background(process)
        while process.poll() is None and _pass_on(lines, show, tail):
            pass
        while process.poll() is None:  # it has closed its output and goes on
            time.sleep(_POLL_SECONDS)
    finally:
        _end_group(process, grace_seconds)
    while _pass_on(lines, show, tail):
        pass
    if process.returncode:
        last = "\n".join(f"  {text}" for text in tail)
        what = f"`{' '.join(command)}` ended with status {process.returncode}"
        raise CommandError(f"{what}; it last wrote:\n{last}")


def _end_group(leader: subprocess.Popen[bytes], grace_seconds: float) -> None:
    if _signal_group(leader.pid, signal.SIGTERM):
        try:
            _wait_for_group(leader, grace_seconds)
        finally:  # a second interrupt ends the grace, not the group
            if _signal_group(leader.pid, signal.SIGKILL):
                _wait_for_group(leader, _KILL_SECONDS)
    leader.wait()


def _wait_for_group(leader: subprocess.Popen[bytes], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and _signal_group(leader.pid, 0):
        leader.poll()  # until it is waited for, a leader that has ended still counts as a member
        time.sleep(_POLL_SECONDS)


def _signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group (0 only asks); whether there was anybody to receive it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def _pass_on(lines: _Lines, show: Show, tail: deque[str]) -> bool:
    """Show the next line if one comes soon; False at the end of the stream.

    The wait is short because Prefect's timeout is an exception that arises only between two steps of Python.
    """
    try:
        line = lines.get(timeout=_POLL_SECONDS)
    except queue.Empty:
        return True
    if line is None:
        lines.put(None)  # the end stays the end
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
    """Cut the output at line feeds and carriage returns; a `None` behind the last line ends the stream."""
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
