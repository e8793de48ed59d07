"""Steps per second and peak memory of training: ours, the naive version, and networks of `transformers`.

    python -m benchmarks.training
    python -m benchmarks.training --only mini --rounds 9

Every network trains in a process of its own, and the runs that are compared are interleaved. Writes training.md and
training.json; runs on a GPU where there is one. The embedded dataset has to be annotated: `dvc repro annotate`.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import torch

from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.device import machine_name
from benchmarks.harness.interleave import Worker, interleave
from benchmarks.harness.results import publish
from benchmarks.training.report import (
    COMPARISONS,
    Comparison,
    StepCost,
    TrainingConditions,
    TrainingReport,
    training_page,
)
from panoptic.runtime.cli import run_command


def start(network: str, variant: str, threads: int) -> Worker:
    """Start a process of `benchmarks.training.worker`."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    if variant == "naive":
        environment["PANOPTIC_OPS"] = "reference"
    return Worker("training.worker", network, variant, "--threads", threads, environment=environment)


def measure(comparison: Comparison, rounds: int, threads: int) -> dict[str, StepCost]:
    """Train all networks of a comparison, interleaved."""
    steps = comparison.steps
    with ExitStack() as stack:
        trainers = {
            f"{network}:{variant}": stack.enter_context(start(network, variant, threads))
            for network, variant in comparison.networks
        }
        runs = {name: partial(trainer.ask, str(steps)) for name, trainer in trainers.items()}
        answers = interleave(runs, rounds, comparison.title)
    costs = {}
    for name, lines in answers.items():
        seconds, megabytes = zip(*(map(float, line.split()) for line in lines), strict=True)
        costs[name] = StepCost([taken / steps for taken in seconds], megabytes[-1])
    return costs


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = benchmark_parser("training", __doc__)
    parser.add_argument("--only", choices=COMPARISONS, help="one comparison (default: all)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args(argv)

    def command() -> None:
        if arguments.rounds < 1:
            raise ValueError(f"--rounds is {arguments.rounds}; give at least 1")
        names = [arguments.only] if arguments.only else list(COMPARISONS)
        measured = {name: measure(COMPARISONS[name], arguments.rounds, arguments.threads) for name in names}
        conditions = TrainingConditions(machine_name(), torch.__version__, arguments.threads, arguments.rounds)
        report = TrainingReport(conditions, measured)
        publish("training", training_page(report), report, arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()
