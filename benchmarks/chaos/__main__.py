"""Disturb every stage at chosen moments, run it again, and compare its files with those of an undisturbed run.

    python -m benchmarks.chaos
    python -m benchmarks.chaos --moments 20 --seed 3 --out runs/chaos
    python -m benchmarks.chaos --only "disk full" --stage train --keep
    python -m benchmarks.chaos --moment 17

The same seed gives the same list. Each moment kills a program (SIGKILL, SIGTERM, Ctrl-C) or one of its children for
lack of memory, fills its disk, makes it read-only or slow, moves the clock, or leaves no room in /dev/shm. Disks are
mounted for this program only, as root or in a user namespace; a library that is compiled for this run and that programs
are started with stops them before an operation, slows them, and moves their clock. What is not possible is left out.
`--only`, `--stage` and `--moment` choose from the list. Files of a moment that failed are kept, and the status is 1.
Writes chaos.md and chaos.json, unless moments were chosen.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from benchmarks.chaos.attempt import Outcome, attempt
from benchmarks.chaos.board import compile_shim
from benchmarks.chaos.files import MEASURED
from benchmarks.chaos.moments import MOUNTS, SHIMMED, STAGES, TORCHRUN, WHOLE, Kind, Moment, list_moments
from benchmarks.chaos.namespace import enter_namespace, unmount_all
from benchmarks.chaos.processes import end_processes
from benchmarks.chaos.report import ChaosReport, chaos_page, describe
from benchmarks.chaos.targets import Preparation
from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.device import machine_name
from benchmarks.harness.results import publish
from benchmarks.harness.timer import Timer
from panoptic.runtime.cli import run_command

MODULE = "benchmarks.chaos"


@dataclass(frozen=True)
class Plan:
    """Moments to try, and those that are left out because the machine cannot do them."""

    moments: tuple[Moment, ...]
    left_out: tuple[Moment, ...]

    @classmethod
    def of(cls, moments: Sequence[Moment], impossible: frozenset[Kind]) -> "Plan":
        """Divide the moments."""
        possible = tuple(moment for moment in moments if moment.kind not in impossible)
        return cls(possible, tuple(moment for moment in moments if moment.kind in impossible))


def run_moments(plan: Plan, work: Path, shim: Path | None, mounts: bool, jobs: int) -> tuple[Timer, list[Outcome]]:
    """Try all moments, `jobs` at a time, the longest first; return the outcomes in the order of the list."""
    timer = Timer()
    print("undisturbed runs ...", file=sys.stderr, flush=True)
    targets = Preparation(work, shim).targets({moment.target for moment in plan.moments})
    for name, target in targets.items():
        timer.laps[name] = target.seconds

    def run(moment: Moment) -> Outcome:
        outcome = attempt(moment, targets[moment.target], work, shim, mounts)
        print(describe(outcome), flush=True)
        return outcome

    longest_first = sorted(plan.moments, key=lambda moment: (moment.target not in WHOLE, moment.number))
    with ThreadPoolExecutor(jobs) as threads:
        outcomes = list(threads.map(run, longest_first))
    return timer, sorted(outcomes, key=lambda outcome: outcome.moment.number)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = benchmark_parser("chaos", __doc__)
    parser.add_argument("--moments", type=int, default=200, metavar="N", help="length of the list (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the list (default: 0)")
    kinds, programs = list(map(str, Kind)), [*STAGES, TORCHRUN, *WHOLE]
    parser.add_argument("--only", nargs="+", choices=kinds, help="choose the moments of these kinds")
    parser.add_argument("--stage", nargs="+", choices=programs, help="choose the moments of these programs")
    parser.add_argument("--moment", nargs="+", type=int, metavar="K", help="choose these moments")
    parser.add_argument("--keep", action="store_true", help="keep the folder of the runs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="moments at a time (default: one per core)")
    return parser.parse_args(argv)


def _choose(given: argparse.Namespace, can_count: bool) -> list[Moment]:
    conditions: list[tuple[list[object] | None, Callable[[Moment], object]]] = [
        (given.only, lambda moment: moment.kind),
        (given.stage, lambda moment: moment.target),
        (given.moment, lambda moment: moment.number),
    ]
    count = max(given.moments, *(given.moment or [0]))
    chosen = [
        moment
        for moment in list_moments(count, given.seed, can_count)
        if all(wanted is None or of(moment) in wanted for wanted, of in conditions)
    ]
    if not chosen:
        raise ValueError(f"none of the {count} moments is chosen; give another number, or more --moments")
    return chosen


def _leave_nothing_if_stopped(work: Path) -> None:
    """End the disturbed programs with this one, which would wait for their moments otherwise."""

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        while work.exists():  # the other threads go on for as long
            end_processes(str(work))
            unmount_all(work)
            shutil.rmtree(work, ignore_errors=True)
        os._exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; the exit status is 1 if a moment failed."""
    given = _parse(argv)
    mounts = enter_namespace(MODULE, sys.argv[1:] if argv is None else argv)
    work = Path(tempfile.mkdtemp(prefix="chaos-")).resolve()
    failed: list[Outcome] = []
    _leave_nothing_if_stopped(work)

    def command() -> None:
        shim = compile_shim(work)
        impossible = (frozenset() if mounts else MOUNTS) | (frozenset() if shim else SHIMMED)
        plan = Plan.of(_choose(given, can_count=shim is not None), impossible)
        timer = Timer()
        taken, outcomes = timer.lap("all", run_moments, plan, work, shim, mounts, given.jobs)
        failed.extend(outcome for outcome in outcomes if outcome.problems)
        left_out = Counter(str(moment.kind) for moment in plan.left_out)
        measured = tuple(name for name, _ in MEASURED)
        report = ChaosReport(
            machine_name(), given.seed, timer.laps["all"], dict(taken.laps), dict(left_out), measured, tuple(outcomes)
        )
        if (given.only, given.stage, given.moment) == (None, None, None):
            publish("chaos", chaos_page(report), report, given.out)
        print(f"{report.equal} of {len(outcomes)} moments passed in {report.seconds:.0f} s")
        for kind, count in left_out.items():
            print(f"left out, because this machine cannot do it: {count} of {kind}")

    try:
        run_command(command)
    finally:
        end_processes(str(work))
        if not (failed or given.keep):
            shutil.rmtree(work)
    for outcome in failed:
        number = outcome.moment.number
        print(f"kept: {work}/{number}.*; again: python -m {MODULE} --seed {given.seed} --moment {number}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
