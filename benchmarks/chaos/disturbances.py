"""What happens at a moment: to the program, to its disk, or to its clock."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.board import Board
from benchmarks.chaos.moments import Kind
from benchmarks.chaos.namespace import fill, make_read_only
from benchmarks.chaos.place import Place
from benchmarks.chaos.processes import Found, find_processes

_SLOWER_SECONDS = 3.0  # by which a slow disk delays a whole run
_LONGEST_DELAY = 0.05
_JUMPS = (-400 * 86400, -3600, 3600, 30 * 86400)
_HELPERS = "resource_tracker"  # of multiprocessing; no work of the program
_EXEC_SECONDS = 0.05  # after a fork, until a process has its own command line
_CONTROLLERS = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    (Path("/sys/fs/cgroup"), "memory.max"),
)
_LIMIT_BYTES = 1 << 16
_KERNEL_SECONDS = 1.0


@dataclass(frozen=True)
class Scene:
    """A running program, and what can be done to it."""

    pid: int
    place: Place
    board: Board
    fraction: float
    as_group: bool
    """True if signals go to the whole process group: DVC leaves its stages running."""


def disturb(kind: Kind, scene: Scene) -> bool:
    """Do it; return False if it cannot be done yet."""
    return _ACTIONS[kind](scene)


def _kill(scene: Scene) -> bool:
    (os.killpg if scene.as_group else os.kill)(scene.pid, signal.SIGKILL)
    return True


def _terminate(scene: Scene) -> bool:
    (os.killpg if scene.as_group else os.kill)(scene.pid, signal.SIGTERM)
    return True


def _interrupt(scene: Scene) -> bool:
    os.killpg(scene.pid, signal.SIGINT)
    return True


def _fill_disk(scene: Scene) -> bool:
    fill(scene.place.filler)
    return True


def _make_read_only(scene: Scene) -> bool:
    return make_read_only(scene.place.disk)


def _slow_down(scene: Scene) -> bool:
    left = max(1, round(scene.place.target.operations * (1 - scene.fraction)))
    scene.board.slow_down(min(_LONGEST_DELAY, _SLOWER_SECONDS / left))
    return True


def _move_clock(scene: Scene) -> bool:
    scene.board.move_clock(_JUMPS[int(scene.fraction * 1000) % len(_JUMPS)])
    return True


def _kill_child(scene: Scene) -> bool:
    """Let the kernel kill the largest child for lack of memory, or send the signal that it would send."""
    forked = {one.pid: one.command for one in find_processes(scene.place.mark)}
    time.sleep(_EXEC_SECONDS)
    children = [
        one
        for one in find_processes(scene.place.mark)
        if one.pid != scene.pid and forked.get(one.pid) == one.command and _HELPERS not in one.command
    ]
    if not children:
        return False
    largest = max(children, key=lambda child: child.resident)
    _take_memory(largest)
    with suppress(ProcessLookupError):
        os.kill(largest.pid, signal.SIGKILL)
    return True


def _take_memory(process: Found) -> None:
    """Move a process to a control group that has no memory for it, where this program may make one."""
    for controller, limit in _CONTROLLERS:
        group = controller / f"chaos-{process.pid}"
        if not (controller / "cgroup.procs").exists():
            continue
        with suppress(OSError):
            group.mkdir()
            try:
                (group / limit).write_text(str(_LIMIT_BYTES), encoding="utf-8")
                (group / "cgroup.procs").write_text(str(process.pid), encoding="utf-8")
                _wait_for_death(process.pid)
                (controller / "cgroup.procs").write_text(str(process.pid), encoding="utf-8")
            finally:
                _remove_group(group)


def _remove_group(group: Path) -> None:
    deadline = time.monotonic() + _KERNEL_SECONDS
    while True:  # the kernel counts a dead process for a moment
        try:
            return group.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _wait_for_death(pid: int) -> None:
    deadline = time.monotonic() + _KERNEL_SECONDS
    while time.monotonic() < deadline and Path(f"/proc/{pid}/exe").exists():
        time.sleep(0.01)


def _nothing(_scene: Scene) -> bool:
    """A tiny /dev/shm is there from the start."""
    return True


_ACTIONS: dict[Kind, Callable[[Scene], bool]] = {
    Kind.KILL: _kill,
    Kind.TERM: _terminate,
    Kind.INTERRUPT: _interrupt,
    Kind.DISK_FULL: _fill_disk,
    Kind.READ_ONLY: _make_read_only,
    Kind.SLOW_DISK: _slow_down,
    Kind.CLOCK: _move_clock,
    Kind.TINY_SHM: _nothing,
    Kind.OUT_OF_MEMORY: _kill_child,
}
