"""Deformable attention: time and memory of every backend that can run here, beside the reference and others' code.

    python -m benchmarks.operator
    python -m benchmarks.operator --shapes mini --rounds 20 --threads 1

On each device (CPU; CUDA where there is one) all of them take turns within a round, so that what else the machine does
meets all alike; ratios are medians over the rounds. Peak memory is that of a process of its own on a CPU (Linux), and
what torch allocated on CUDA. Writes operator.md and operator.json.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks.operator.cases import CASES, Case, Run, make_run, names_for
from panoptic.io.files import write_atomically

RESULTS = Path("benchmarks/results")
_MEGABYTE = 1e6


@dataclass(frozen=True)
class Row:
    """One implementation on one case: seconds of every round, and what it took beside its operands."""

    case: str
    device: str
    dtype: str
    name: str
    forward: list[float]
    both: list[float]  # forward and backward
    forward_memory: float  # MB
    both_memory: float  # MB


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operator", description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", choices=sorted(CASES), default=list(CASES))
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--memory-of", nargs=5, help=argparse.SUPPRESS)  # what a process of its own is started with
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    if asked.memory_of:
        case, device, dtype, name, what = asked.memory_of
        print(json.dumps(_peak(make_run(CASES[case], device, dtype, name), what)))
        return
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    turns = [(case, device, dtype) for device in devices for case in asked.shapes for dtype in asked.dtypes]
    rows = [row for turn in tqdm(turns, desc="measure") for row in _measure(*turn, asked.rounds, asked.threads)]
    machine = {
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": asked.threads,
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "command": f"python -m benchmarks.operator {' '.join(arguments or sys.argv[1:])}".strip(),
    }
    content = {"machine": machine, "rows": [asdict(row) for row in rows]}
    write_atomically(asked.out / "operator.json", (json.dumps(content, indent=1) + "\n").encode())
    page = "\n".join(_page(machine, rows)) + "\n"
    write_atomically(asked.out / "operator.md", page.encode())
    print(page)


def _measure(case: str, device: str, dtype: str, rounds: int, threads: int) -> Iterator[Row]:
    names = names_for(device, dtype)
    runs = {name: make_run(CASES[case], device, dtype, name) for name in names}
    seconds: dict[tuple[str, str], list[float]] = {(name, what): [] for name in names for what in ("forward", "both")}
    for number in range(rounds + 1):  # the first one warms up
        for (name, what), found in seconds.items():
            took = _time(runs[name], what, device)
            if number:
                found.append(took)
    for name in names:
        memory = [_peak_alone(case, device, dtype, name, what, threads) for what in ("forward", "both")]
        yield Row(case, device, dtype, name, seconds[name, "forward"], seconds[name, "both"], *memory)


def _time(run: Run, what: str, device: str) -> float:
    _wait_for(device)
    started = time.perf_counter()
    run.step(what)
    _wait_for(device)
    return time.perf_counter() - started


def _wait_for(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def _peak_alone(case: str, device: str, dtype: str, name: str, what: str, threads: int) -> float:
    command = [sys.executable, "-m", "benchmarks.operator", "--threads", str(threads), "--memory-of"]
    done = subprocess.run([*command, case, device, dtype, name, what], stdout=subprocess.PIPE, check=True)
    return float(json.loads(done.stdout))


def _peak(run: Run, what: str) -> float:
    """MB at the peak of a step, beyond what was there before it."""
    if run.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run.step(what)
        return (torch.cuda.max_memory_allocated() - before) / _MEGABYTE
    make_run(Case(((2, 2),), 1, 1, 1, 4, 1), "cpu", run.dtype, run.name).step(what)  # loads what is loaded lazily
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _status("VmRSS")
    run.step(what)
    return (_status("VmHWM") - before) / _MEGABYTE


def _status(field: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def _page(machine: dict[str, object], rows: Sequence[Row]) -> Iterator[str]:
    yield "# Deformable attention: time and memory"
    yield ""
    yield (
        f"Written by `{machine['command']}` on {machine['machine']}, {machine['threads']} of {machine['cores']} cores,"
        f" torch {machine['torch']}{', ' + str(machine['gpu']) if machine['gpu'] else ''}."
        " Milliseconds are medians over the rounds, in which all take turns. A ratio above 1 says how many times as"
        " fast as the reference, or as little memory, median and range over the rounds."
    )
    for case, device in dict.fromkeys((row.case, row.device) for row in rows):
        yield from ("", f"## {CASES[case].title} on {device}", "")
        yield "| | type | forward, ms | ratio | and backward, ms | ratio | memory, MB | ratio | both, MB | ratio |"
        yield "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"
        here = [row for row in rows if (row.case, row.device) == (case, device)]
        for row in here:
            base = next(one for one in here if one.name == "reference" and one.dtype == row.dtype)
            yield (
                f"| {row.name} | {row.dtype} | {_ms(row.forward)} | {_ratio(base.forward, row.forward)}"
                f" | {_ms(row.both)} | {_ratio(base.both, row.both)}"
                f" | {row.forward_memory:.1f} | {_share(base.forward_memory, row.forward_memory)}"
                f" | {row.both_memory:.1f} | {_share(base.both_memory, row.both_memory)} |"
            )


def _ms(seconds: Sequence[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.3g}"


def _ratio(base: Sequence[float], seconds: Sequence[float]) -> str:
    ratios = [one / other for one, other in zip(base, seconds, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def _share(base: float, memory: float) -> str:
    return f"{base / memory:.1f}" if memory > 0 else ""


if __name__ == "__main__":
    main()
