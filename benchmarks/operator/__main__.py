"""Deformable attention: time and memory of every backend that runs here, beside the reference and Hugging Face's code.

    python -m benchmarks.operator
    python -m benchmarks.operator --shapes mini --rounds 20 --threads 1

Runs are interleaved on each device (CPU, and CUDA where there is one); ratios are medians over the rounds. Peak memory
is that of a separate process on a CPU (Linux), and what torch allocated on CUDA. Writes operator.md and operator.json.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.device import PeakMemory, timer_for
from benchmarks.harness.interleave import interleave, run_worker
from benchmarks.harness.results import Summary, publish
from benchmarks.operator.cases import CASES, AttentionCall, Case, implementations, make_call
from panoptic.markdown import markdown_page, markdown_table
from panoptic.runtime.cli import run_command

_MEGABYTE = 1e6
_PASSES = ("forward", "both")


@dataclass(frozen=True)
class OperatorCost:
    """One implementation on one case: seconds of every round, and memory beyond the operands."""

    case: str
    device: str
    dtype: str
    name: str
    forward: list[float]
    both: list[float]  # forward and backward
    forward_memory: float  # MB
    both_memory: float  # MB


@dataclass(frozen=True)
class OperatorMachine:
    """The machine, and the command that was given on it."""

    machine: str
    cores: int | None
    threads: int
    torch: str
    gpu: str | None
    command: str


@dataclass(frozen=True)
class OperatorReport:
    """The costs of all implementations on all cases."""

    machine: OperatorMachine
    rows: list[OperatorCost]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for, and write the page."""
    parser = benchmark_parser("operator", __doc__)
    parser.add_argument("--shapes", nargs="+", choices=sorted(CASES), default=list(CASES))
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--memory-of", nargs=5, help=argparse.SUPPRESS)  # for the processes that measure memory
    arguments = parser.parse_args(argv)
    command = f"python -m benchmarks.operator {' '.join(argv or sys.argv[1:])}".strip()
    run_command(lambda: _run(arguments, command))


def _run(arguments: argparse.Namespace, command: str) -> None:
    torch.set_num_threads(arguments.threads)
    if arguments.memory_of:
        case, device, dtype, name, passes = arguments.memory_of
        print(json.dumps(_peak(make_call(CASES[case], device, dtype, name), passes)))
        return
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    rows = [
        row
        for device in devices
        for case in arguments.shapes
        for dtype in arguments.dtypes
        for row in _measure(case, device, dtype, arguments.rounds, arguments.threads)
    ]
    machine = OperatorMachine(
        machine=platform.processor() or platform.machine(),
        cores=os.cpu_count(),
        threads=arguments.threads,
        torch=torch.__version__,
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        command=command,
    )
    report = OperatorReport(machine, rows)
    publish("operator", operator_page(report), report, arguments.out)


def _measure(case: str, device: str, dtype: str, rounds: int, threads: int) -> Iterator[OperatorCost]:
    calls = {name: make_call(CASES[case], device, dtype, name) for name in implementations(device, dtype)}
    timer = timer_for(torch.device(device))
    runs = {
        (name, passes): partial(timer.seconds, partial(call.run, passes))
        for name, call in calls.items()
        for passes in _PASSES
    }
    seconds = interleave(runs, rounds, f"{case}, {device}, {dtype}")
    for name in calls:
        options = "--threads", threads, "--memory-of", case, device, dtype, name
        memory = [float(run_worker("operator", *options, passes)) for passes in _PASSES]
        yield OperatorCost(case, device, dtype, name, seconds[name, "forward"], seconds[name, "both"], *memory)


def _peak(call: AttentionCall, passes: str) -> float:
    """Return the peak of one call in MB, beyond what was there before it."""
    if call.device == "cpu":  # loads what is loaded lazily
        make_call(Case(((2, 2),), 1, 1, 1, 4, 1), "cpu", call.dtype, call.name).run(passes)
    memory = PeakMemory.start(torch.device(call.device))
    call.run(passes)
    return memory.growth / _MEGABYTE


def operator_page(report: OperatorReport) -> str:
    """Render a table for each case and device."""
    machine = report.machine
    introduction = (
        f"Written by `{machine.command}` on {machine.machine}, {machine.threads} of {machine.cores} cores,"
        f" torch {machine.torch}{', ' + machine.gpu if machine.gpu else ''}."
        " Milliseconds are medians over interleaved runs. A ratio above 1 says how many times as fast as the reference"
        " an implementation is, or how many times less memory it takes: median, with the lowest and the highest of the"
        " rounds in brackets."
    )
    sections = [
        block
        for case, device in dict.fromkeys((row.case, row.device) for row in report.rows)
        for block in (f"## {CASES[case].title} on {device}", _table(report.rows, case, device))
    ]
    return markdown_page("# Deformable attention: time and memory", introduction, *sections)


def _table(rows: Sequence[OperatorCost], case: str, device: str) -> str:
    header = ["", "type", "forward, ms", "ratio", "forward and backward, ms", "ratio"]
    header += ["forward, MB", "ratio", "forward and backward, MB", "ratio"]
    costs = [row for row in rows if (row.case, row.device) == (case, device)]
    references = {row.dtype: row for row in costs if row.name == "reference"}
    return markdown_table(header, [_cells(row, references[row.dtype]) for row in costs], labels=2)


def _cells(row: OperatorCost, reference: OperatorCost) -> list[str]:
    cells = [row.name, row.dtype]
    for seconds, base in ((row.forward, reference.forward), (row.both, reference.both)):
        cells += [f"{Summary.of(seconds).median * 1e3:.3g}", f"{Summary.of_ratios(base, seconds):.2f}"]
    for memory, base_memory in (
        (row.forward_memory, reference.forward_memory),
        (row.both_memory, reference.both_memory),
    ):
        cells += [f"{memory:.1f}", f"{base_memory / memory:.1f}" if memory > 0 else ""]
    return cells


if __name__ == "__main__":
    main()
