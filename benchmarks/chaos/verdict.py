"""What is wrong after a moment: after the disturbed run, and after the run that follows it."""

import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.chaos.files import digest_tree, left_behind, wrong_results
from benchmarks.chaos.moments import UNHARMED, Kind
from benchmarks.chaos.place import Place
from benchmarks.chaos.processes import wait_for_end

_REST_SECONDS = 10.0  # for the processes of a program that has ended
_STATUSES = {Kind.TERM: (143, -signal.SIGTERM, 75), Kind.INTERRUPT: (130, -signal.SIGINT)}
"""How a stage may end after a signal: as one that it ended, or as a training that saved its state."""
_SILENT = (0, -signal.SIGTERM, -signal.SIGINT)
_GROWING = ("loss.csv", "quality.csv")
_TRACEBACK = re.compile(r"Traceback \(most recent call last\)(?!:\n  File \"[^\"]*/multiprocessing/util\.py\")")
"""A traceback, but for those of multiprocessing about its own sockets, which it cannot remove from a read-only disk."""
_BEFORE_MAIN = ", in _get_module_details\n"
"""Python's own traceback of Ctrl-C while it imports the package in which signals are taken over."""
_BEFORE_PROGRAM = ("Could not import runpy module\n", "Fatal Python error: init_")
"""How Python's words begin on Ctrl-C before it has looked for any program."""


@dataclass(frozen=True)
class Disturbed:
    """How a disturbed run ended, which is not at all if there is no status; not `reached`: before the moment."""

    reached: str
    status: int | None
    ended_after: float


def judge(place: Place, disturbed: Disturbed) -> list[str]:
    """Return everything that is wrong, also after another run unless the first has done all, and left nothing else."""
    problems = [*_left_running(place), *_wrong_end(place, disturbed), *_half_written(place)]
    place.repair()
    if disturbed.status == 0:
        if not _left_behind(place):
            return [*problems, *(f"status 0, but {one}" for one in _wrong_results(place))]
        # What it could not remove, as on a disk that it may not change, the next run does.
        written = {name: digest for name, digest in place.target.after.items() if not name.endswith("/")}
        problems += [f"status 0, but {one}" for one in wrong_results(digest_tree(place.tree), written)]
    process = place.start("again", None)
    try:
        status = process.wait(place.longest)
    except subprocess.TimeoutExpired:
        return [*problems, "the second run hangs"]
    if status:
        problems.append(f"the second run ended with status {status}: {_last_line(place, 'again')}")
    return [*problems, *_left_running(place), *_left_behind(place), *_wrong_results(place)]


def _wrong_end(place: Place, disturbed: Disturbed) -> Iterator[str]:
    """Describe an end that no user should see."""
    kind, status = place.kind, disturbed.status
    if status is None:
        yield "hangs"
        return
    if kind in UNHARMED and status:
        yield f"ended with status {status}: {_last_line(place, 'disturbed')}"
    if place.target.is_whole or kind is Kind.KILL:  # DVC and Prefect log exceptions in their own way
        return
    said = place.log("disturbed")
    if kind is Kind.INTERRUPT and said.startswith(_BEFORE_PROGRAM):
        return
    allowed = _STATUSES.get(kind, (status,))
    if status not in (0, *allowed):
        yield f"ended with status {status}, not with {' or '.join(map(str, allowed))}"
    if _TRACEBACK.search(said) and _BEFORE_MAIN not in said:
        yield f"a traceback instead of a message: {_last_line(place, 'disturbed')}"
    elif status not in _SILENT and not said.strip():
        yield f"ended with status {status} without a message"


def _half_written(place: Place) -> Iterator[str]:
    """Name files that have their final name, but not yet their final content."""
    target, before = place.target, digest_tree(place.target.before)
    if target.is_whole:  # some stages extend what others have written
        return
    for name, digest in digest_tree(place.tree).items():
        is_new = name in target.after and name not in before and Path(name).name not in _GROWING
        if is_new and digest != target.after[name]:
            yield f"written in part: {name}"


def _left_running(place: Place) -> list[str]:
    return [f"left running: {process.command[:100]}" for process in wait_for_end(place.mark, _REST_SECONDS)]


def _wrong_results(place: Place) -> list[str]:
    return wrong_results(digest_tree(place.tree), place.target.after)


def _left_behind(place: Place) -> list[str]:
    files = left_behind(digest_tree(place.tree), place.target.after)
    return [*files, *(f"left behind: /dev/shm/{path.name}" for path in place.shm.iterdir())]


def _last_line(place: Place, log: str) -> str:
    lines = place.log(log).strip().splitlines()
    return lines[-1] if lines else "nothing said"
