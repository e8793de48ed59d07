"""Training on a machine that is busy with other programs: steps per second by how threads wait for each other.

    python -m benchmarks.busy
    python -m benchmarks.busy --loads 1 3 --rounds 5

The load is a number of processes that compute without a pause. Under each load a trainer of `mini` is started for every
way to wait, and their runs are interleaved. What a load leaves to the trainer, its share, is the part of the cores that
the system gives its threads. Writes busy.md and busy.json. The embedded dataset has to be annotated: `dvc repro
annotate`.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch

from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.device import machine_name
from benchmarks.harness.interleave import Worker, interleave
from benchmarks.harness.results import Summary, publish
from panoptic.markdown import markdown_page, markdown_table
from panoptic.runtime.cli import run_command
from panoptic.runtime.waiting import ASLEEP, AWAKE, VARIABLE

CHOSEN = "chosen at the start"
LIBRARY = "as the library has it"
SPINS: Mapping[str, int | None] = {CHOSEN: None, "asleep": ASLEEP, "awake": AWAKE, LIBRARY: 300_000}
"""Rounds that a waiting thread spins; None leaves it to `panoptic.runtime.waiting`."""
STEPS = 10
"""Of a run."""
_COMPUTE = """
import os, sys
while os.getppid() == int(sys.argv[1]):
    for _ in range(1_000_000):
        pass
"""


@dataclass(frozen=True)
class BusyReport:
    """Steps per second in every round, by the number of other processes and the way to wait."""

    device: str
    torch: str
    cores: int
    threads: int
    rounds: int
    rates: Mapping[int, Mapping[str, Sequence[float]]]

    def share(self, load: int) -> float:
        """Return the part of the speed on a quiet machine that the system leaves to the trainer, at least."""
        return min(1.0, self.cores / (self.threads + load))


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep a number of processes computing."""
    command = [sys.executable, "-c", _COMPUTE, str(os.getpid())]
    started = [subprocess.Popen(command) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def measure(loads: Sequence[int], rounds: int, threads: int) -> Mapping[int, Mapping[str, Sequence[float]]]:
    """Train under each load, in every way to wait."""
    rates = {}
    for load in loads:
        with busy(load), ExitStack() as stack:
            trainers = {name: stack.enter_context(_trainer(spins, threads)) for name, spins in SPINS.items()}
            runs = {name: partial(trainer.ask, str(STEPS)) for name, trainer in trainers.items()}
            answers = interleave(runs, rounds, f"{load} others")
        rates[load] = {name: [STEPS / float(line.split()[0]) for line in lines] for name, lines in answers.items()}
    return rates


def _trainer(spins: int | None, threads: int) -> Worker:
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    environment["OMP_NUM_THREADS"] = str(threads)
    if spins is not None:
        environment[VARIABLE] = str(spins)
    return Worker("training.worker", "mini", "ours", "--threads", threads, environment=environment)


def busy_page(report: BusyReport) -> str:
    """Render steps per second, and the part of its share that a trainer gets."""
    quiet = Summary.of(report.rates[0][CHOSEN]).median
    rows = []
    for load, rates in report.rates.items():
        for name, found in rates.items():
            rate = Summary.of(found)
            share = rate * (1 / (quiet * report.share(load)))
            rows.append([str(load), name, f"{rate:.1f}", f"{share:.2f}"])
    return markdown_page(
        "# Training beside other programs",
        f"Written by `python -m benchmarks.busy` on {report.device}, {report.cores} cores, {report.threads} threads,"
        f" torch {report.torch}. Steps per second of `mini` with the settings of `params.yaml`: medians of"
        f" {report.rounds} interleaved rounds of {STEPS} steps, with the lowest and the highest in brackets. The other"
        " programs compute without a pause. The share of a trainer is what it would get if each thread that wants a"
        " core got as much of one; 1.00 is the speed of the first row times that.",
        f"*{CHOSEN}*: stages look at the load when they start; threads that wait for others then stay awake on a quiet"
        f" machine and sleep on a busy one (`panoptic/runtime/waiting.py`; `{VARIABLE}` in the environment takes"
        f" precedence). *{LIBRARY}*: what torch does by itself.",
        markdown_table(["others", "threads that wait", "steps per second", "of its share"], rows, labels=2),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = benchmark_parser("busy", __doc__)
    parser.add_argument("--loads", type=int, nargs="+", default=[1, 2, 4], help="other processes, besides none")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args(argv)

    def command() -> None:
        if min(arguments.rounds, arguments.threads, *arguments.loads) < 1:
            raise ValueError("--rounds, --threads and --loads are counts; give at least 1 for each")
        rates = measure([0, *sorted(set(arguments.loads))], arguments.rounds, arguments.threads)
        cores = len(os.sched_getaffinity(0))
        report = BusyReport(machine_name(), torch.__version__, cores, arguments.threads, arguments.rounds, rates)
        publish("busy", busy_page(report), report, arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()
