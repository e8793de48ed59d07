"""Fuzzing in a child process, so that a crash or an endless loop is a finding like any other."""

import mmap
import os
import re
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.engine import Finding, Fuzzer
from tests.fuzz.mutation import MAX_BYTES
from tests.fuzz.target import Target

HANG_SECONDS = 60.0
"""An input that makes no progress for so long hangs, even on a busy machine."""
CRASHES = 10
"""After so many, a target is given up."""
_COUNTS = struct.Struct("<QQQQ")


@dataclass(frozen=True)
class Counts:
    """Inputs run, lines of the project reached, inputs kept, and the length of the present input."""

    executions: int = 0
    lines: int = 0
    kept: int = 0
    length: int = 0


class SharedProgress:
    """Memory of parent and child: the counts, and the input that is being run."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _COUNTS.size + 16 * MAX_BYTES)

    def write(self, counts: Counts, data: bytes) -> None:
        """Note an input before it is run."""
        self._memory[: _COUNTS.size] = _COUNTS.pack(counts.executions, counts.lines, counts.kept, len(data))
        self._memory[_COUNTS.size : _COUNTS.size + len(data)] = data

    @property
    def counts(self) -> Counts:
        return Counts(*_COUNTS.unpack_from(self._memory))

    @property
    def data(self) -> bytes:
        """The input that is, or was, being run."""
        return self._memory[_COUNTS.size : _COUNTS.size + self.counts.length]


@dataclass(frozen=True)
class Task:
    """Fuzz `target` for some seconds, or inputs if these are fewer; `keep` gets the inputs kept at the end."""

    target: Target
    seed: int
    seconds: float
    executions: int
    report: Callable[[Finding], None]
    keep: Callable[[list[bytes]], None]


def fuzz(task: Task) -> tuple[Counts, int]:
    """Fuzz a target, in a new child after every crash; return the counts, and the peak memory in kB of any child."""
    end = time.monotonic() + task.seconds
    done, peak = Counts(), 0
    crashed: list[bytes] = []
    while True:
        progress = SharedProgress()
        with tempfile.TemporaryFile() as errors, tempfile.TemporaryDirectory() as folder:
            child = os.fork()
            if not child:
                os.dup2(errors.fileno(), 2)
                _run_child(task, end, Path(folder), progress, crashed)
            status, memory = _wait(child, progress)
            errors.seek(0)
            said = errors.read().decode(errors="replace")
        counts, peak = progress.counts, max(peak, memory)
        executions = done.executions + counts.executions
        done = Counts(executions, max(done.lines, counts.lines), max(done.kept, counts.kept))
        if status == 0:
            return done, peak
        crashed.append(progress.data)
        task.report(Finding(progress.data, _cause(status, said), said[-50_000:]))
        if len(crashed) == CRASHES or time.monotonic() > end:
            return done, peak


def _run_child(task: Task, end: float, folder: Path, progress: SharedProgress, crashed: list[bytes]) -> None:
    parent = os.getppid()
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)  # a child has none of its parent's threads and would wait for them
    fuzzer = Fuzzer(task.target, task.seed + 1_000_000 * len(crashed), folder)
    status = 1
    try:
        for data in fuzzer.inputs():
            progress.write(Counts(fuzzer.executions, fuzzer.lines, len(fuzzer.pool)), data)
            over = fuzzer.executions >= task.executions or (time.monotonic() > end and not fuzzer.in_corpus)
            if over or os.getppid() != parent:
                break
            if data not in crashed and (finding := fuzzer.run(data)):
                task.report(finding)
        task.keep(fuzzer.pool)
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def _wait(child: int, progress: SharedProgress) -> tuple[int, int]:
    """Wait for the end of a child, and kill it if it makes no progress; return its status and peak memory in kB."""
    last, since = progress.counts, time.monotonic()
    try:
        while True:
            ended, status, usage = os.wait4(child, os.WNOHANG)
            if ended:
                return status, usage.ru_maxrss
            time.sleep(0.02)
            if (now := progress.counts) != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > HANG_SECONDS:
                os.kill(child, signal.SIGKILL)
                _, _, usage = os.wait4(child, 0)
                return -1, usage.ru_maxrss
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.wait4(child, 0)
        raise


def _cause(status: int, said: str) -> str:
    if status == -1:
        return f"hangs for {HANG_SECONDS:.0f} s"
    summary = re.findall(r"(?:[^/\s]+: runtime error:|SUMMARY:) .*", said)
    summary = [re.sub(r"-?\d{6,}", "N", line) for line in summary]  # so that equal causes are equal
    how = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"status {os.WEXITSTATUS(status)}"
    return f"crash, {how}: {summary[-1] if summary else 'no report of a sanitizer'}"
