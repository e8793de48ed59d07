"""Processes of a moment, which are told by a variable of their environment, however they were started."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MARK = "CHAOS_MOMENT"
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Found:
    """A living process: its command line and its memory in bytes."""

    pid: int
    command: str
    resident: int


def find_processes(mark: str) -> Iterator[Found]:
    """Yield the living processes that have this mark, a folder, or that of a folder in it."""
    wanted = f"{MARK}={mark}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            marks = (folder / "environ").read_bytes().split(b"\0")
            if wanted in marks or any(found.startswith(wanted + b"/") for found in marks):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                pages = int((folder / "statm").read_text(encoding="utf-8").split()[1])
                yield Found(int(folder.name), command.strip(), pages * os.sysconf("SC_PAGE_SIZE"))


def wait_for_end(mark: str, seconds: float) -> list[Found]:
    """Wait until no process has the mark, at most for some time; return those that are still there."""
    deadline = time.monotonic() + seconds
    while (found := list(find_processes(mark))) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return found


def end_processes(mark: str) -> None:
    """Kill all processes that have the mark."""
    while found := list(find_processes(mark)):
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
