"""The measurements of `benchmarks.serve`, and their page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.harness.results import Summary
from benchmarks.serve.load import Load
from panoptic.markdown import markdown_page, markdown_table


@dataclass(frozen=True)
class LoadSummary:
    """Requests a second, their fraction of the bare network's rate in the same rounds, and milliseconds."""

    rate: Summary
    fraction: Summary
    median: Summary
    p99: Summary
    wrong: int

    @classmethod
    def of(cls, loads: Sequence[Load], network: Sequence[Load]) -> "LoadSummary":
        """Summarize the rounds of a load, beside those of the bare network."""
        rates = [load.rate for load in loads]
        return cls(
            rate=Summary.of(rates),
            fraction=Summary.of_ratios(rates, [load.rate for load in network]),
            median=Summary.of([load.percentile(50) for load in loads]),
            p99=Summary.of([load.percentile(99) for load in loads]),
            wrong=sum(load.wrong for load in loads),
        )


@dataclass(frozen=True)
class Memory:
    """Resident memory of the server in bytes, while one client sends requests one after another."""

    requests: int
    warm_up: int
    """Requests until `warm`."""
    before: int
    warm: int
    end: int
    slope: float
    """Bytes by which it grows with each request after the warm-up, by least squares."""


@dataclass(frozen=True)
class ServeReport:
    """Rates and latencies by load, memory, and what became of hostile uploads."""

    device: str
    photos: int
    requests: int
    rounds: int
    loads: Mapping[str, LoadSummary]
    memory: Memory
    refused: Mapping[str, int]
    """Number of hostile uploads by status."""
    right_afterwards: bool
    """Whether the server still gave the right map after them."""


def serve_page(report: ServeReport) -> str:
    """Render the rates, the memory and the refusals."""
    how = (
        f"Written by `python -m benchmarks.serve` on {report.device}: {report.photos} photographs,"
        f" {report.requests} requests a round. The server is a process of its own, with its default limits; clients run"
        " on the same machine, and each waits for its answer, the id map as PNG, before it sends the next photograph."
        " *Network alone* is the network and its merging in one process, on the same images, decoded and resized"
        f" beforehand. Medians of {report.rounds} interleaved rounds, with the lowest and the highest in brackets."
    )
    rows = [
        [name, f"{load.rate:.1f}", f"{load.fraction:.2f}", f"{load.median:.0f}", f"{load.p99:.0f}", str(load.wrong)]
        for name, load in report.loads.items()
    ]
    header = ["", "images a second", "of the network's", "median, ms", "99th percentile, ms", "wrong maps"]
    return markdown_page(
        "# The speed and memory of `panoptic serve`",
        how,
        markdown_table(header, rows),
        "## Memory",
        _memory(report.memory),
        "## Hostile uploads",
        _refusals(report),
    )


def _memory(memory: Memory) -> str:
    return (
        f"Resident MB before the first request: {_mega(memory.before)}; after {memory.warm_up} requests:"
        f" {_mega(memory.warm)}; after {memory.requests}: {_mega(memory.end)}. Between these two it grows by"
        f" {memory.slope / 1000:.2f} kB a request (least squares)."
    )


def _refusals(report: ServeReport) -> str:
    by_status = ", ".join(f"{count} with {status}" for status, count in sorted(report.refused.items()))
    after = "still" if report.right_afterwards else "no longer"
    return (
        f"{sum(report.refused.values())} uploads that are damaged, enormous or no image were answered: {by_status}."
        f" Afterwards the server {after} gave the right map."
    )


def _mega(count: int) -> str:
    return f"{count / 1e6:.0f}"
