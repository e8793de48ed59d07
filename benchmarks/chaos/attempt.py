"""One moment: disturb a program, run it again, and judge what it leaves."""

import math
import shutil
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.chaos.board import Board
from benchmarks.chaos.disturbances import Scene, disturb
from benchmarks.chaos.files import SOCKETS
from benchmarks.chaos.moments import DVC, Kind, Moment
from benchmarks.chaos.place import Place
from benchmarks.chaos.targets import Target
from benchmarks.chaos.verdict import Disturbed, judge
from benchmarks.harness.timer import Timer

_POLL_SECONDS = 0.002
_EARLIER, _MOST_ATTEMPTS = 0.6, 5


@dataclass(frozen=True)
class Outcome:
    """What came of a moment; `problems` is empty if the final bytes are those of the undisturbed run."""

    moment: Moment
    reached: str
    """The operation before which it happened, or the seconds after the start."""
    status: int | None
    """How the disturbed run ended; None if it had to be killed."""
    ended_after: float
    """Seconds from the disturbance to the end of the disturbed run."""
    seconds: float
    problems: tuple[str, ...]


def attempt(moment: Moment, target: Target, work: Path, shim: Path | None, mounts: bool) -> Outcome:
    """Disturb the program at the moment, or earlier if it ends before, and judge what follows.

    Files of a moment with problems stay in `work`.
    """
    timer, tried = Timer(), moment
    for number in range(_MOST_ATTEMPTS):
        place = Place(work / f"{moment.number}.{number}", target, moment.kind, shim, mounts)
        with place.laid_out():
            disturbed = timer.lap("all", _disturb, place, tried)
            problems = timer.lap("all", judge, place, disturbed) if disturbed.reached else ["ended before the moment"]
            if disturbed.reached and problems:
                ignored = shutil.ignore_patterns(SOCKETS)  # which cannot be copied
                shutil.copytree(place.disk, place.folder / "kept", symlinks=True, ignore=ignored)
        if disturbed.reached:
            break
        is_last = number == _MOST_ATTEMPTS - 2
        tried = replace(tried, fraction=0.0 if is_last else tried.fraction * _EARLIER)
    if not problems:
        for folder in work.glob(f"{moment.number}.*"):
            shutil.rmtree(folder)
    seconds = timer.laps["all"]
    return Outcome(moment, disturbed.reached, disturbed.status, disturbed.ended_after, seconds, tuple(problems))


def _disturb(place: Place, moment: Moment) -> Disturbed:
    """Run the program, and disturb it at the moment; if that cannot be done yet, at the next operation or soon."""
    board, target = Board(place.folder / "board"), place.target
    operation = 1 + math.floor(moment.fraction * target.operations) if moment.by_operation else 0
    board.stop_at(operation)
    started, reached = time.monotonic(), ""
    due = 0.0 if moment.kind is Kind.TINY_SHM else moment.fraction * target.seconds
    process = place.start("disturbed", board)
    scene = Scene(process.pid, place, board, moment.fraction, as_group=target.name == DVC)
    while process.poll() is None and time.monotonic() - started < place.longest:
        if board.waiting if operation else time.monotonic() - started >= due:
            if disturb(moment.kind, scene):
                reached = f"before {board.what}" if operation else f"after {time.monotonic() - started:.2f} s"
                board.release()
                break
            board.stop_at(board.operations + 1 if operation else 0)
            board.release()
        time.sleep(_POLL_SECONDS)
    at = time.monotonic()
    try:
        status: int | None = process.wait(max(0.0, started + place.longest - at))
    except subprocess.TimeoutExpired:
        status, reached = None, reached or "never"
    return Disturbed(reached, status, time.monotonic() - at)
