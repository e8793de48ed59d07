"""The page of the moments."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.chaos.attempt import Outcome
from benchmarks.chaos.targets import TRAIN_IMAGES, VAL_IMAGES
from panoptic.markdown import markdown_page, markdown_table

_SHOWN_PROBLEMS = 3
_HEADER = ("moments", "passed", "longest until the end, seconds")


@dataclass(frozen=True)
class ChaosReport:
    """All outcomes in order.

    `left_out` counts the moments whose kind is not possible here; `measured` names files with numbers that differ from
    run to run, which are not compared.
    """

    device: str
    seed: int
    seconds: float
    undisturbed_seconds: dict[str, float]
    left_out: dict[str, int]
    measured: tuple[str, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def equal(self) -> int:
        """Number of moments after which nothing was wrong."""
        return sum(not outcome.problems for outcome in self.outcomes)


def chaos_page(report: ChaosReport) -> str:
    """Render the moments by what happened and by program, and every problem."""
    total = len(report.outcomes)
    minutes = report.seconds / 60
    counted = sum(one.moment.by_operation for one in report.outcomes)
    return markdown_page(
        "# Chaos: the pipeline, disturbed",
        f"Written by `python -m benchmarks.chaos --moments {total + sum(report.left_out.values())} --seed"
        f" {report.seed}` on {report.device}, in {minutes:.1f} minutes. At each moment one program on {TRAIN_IMAGES}"
        f" training and {VAL_IMAGES} validation images of `mini` is disturbed, and then run again to its end. A moment"
        " passes if the files are then byte for byte those of an undisturbed run, if no process and no other file is"
        " left, if no file was half written in between, and if a stage ended with a message instead of a traceback.",
        f"**{report.equal} of {total} moments passed.**",
        *([_left_out(report)] if report.left_out else []),
        markdown_table(["what happened", *_HEADER], _rows(report.outcomes, lambda one: one.moment.kind)),
        markdown_table(["program", *_HEADER], _rows(report.outcomes, lambda one: one.moment.target)),
        f"{counted} of the moments are operations that change files (open, write, rename, unlink and the like): the"
        " process waits before one of them while it is disturbed. The others are times. Full and read-only disks,"
        " and /dev/shm, are real file systems; the clock and slowness are those of a library that the program is"
        " started with. Numbers that are measured are not compared: seconds and memory in"
        f" {', '.join(f'`{name}`' for name in report.measured)}. Folders `pymp-*` for sockets and the file by which"
        " `tempfile` tries a folder, which Python itself leaves in the temporary folder when it is killed, are not"
        " counted, nor is what multiprocessing says when it cannot remove its sockets.",
        *_problems(report),
    )


def _rows(outcomes: Sequence[Outcome], name: Callable[[Outcome], str]) -> list[list[str | None]]:
    rows: list[list[str | None]] = []
    for group in dict.fromkeys(map(name, outcomes)):
        those = [one for one in outcomes if name(one) == group]
        passed = sum(not one.problems for one in those)
        rows.append([group, str(len(those)), str(passed), f"{max(one.ended_after for one in those):.1f}"])
    return rows


def _left_out(report: ChaosReport) -> str:
    return "Left out, because this machine cannot do them: " + ", ".join(
        f"{count} of {kind}" for kind, count in report.left_out.items()
    )


def _problems(report: ChaosReport) -> list[str]:
    failed = [one for one in report.outcomes if one.problems]
    if not failed:
        return []
    lines = [f"- {describe(one)}" for one in failed]
    return ["## What failed", "\n".join(lines)]


def describe(outcome: Outcome) -> str:
    """Tell in one line what came of a moment."""
    more = len(outcome.problems) - _SHOWN_PROBLEMS
    what = "; ".join(outcome.problems[:_SHOWN_PROBLEMS]) + (f"; {more} more" if more > 0 else "")
    ended = f"status {outcome.status} after {outcome.ended_after:.1f} s"
    return f"{outcome.moment}, {outcome.reached}: {ended}, {what or 'equal'} ({outcome.seconds:.1f} s)"
