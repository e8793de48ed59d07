"""The page of the data access benchmark, and the names of its measurements."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.data_access.worker import AccessCost
from benchmarks.data_access.workload import DataSize
from benchmarks.harness.results import Summary
from panoptic.markdown import markdown_page, markdown_table

OPENING = {
    "open:index": "index",
    "open:objects": "index, all records as objects",
    "open:archive": "index and its zip file",
    "open:directory": "zip file by its own directory",
}
STARTING = {
    "start:nothing:fork": "nothing, forked",
    "start:index:fork": "index, forked",
    "start:objects:fork": "records as objects, forked",
    "start:nothing:spawn": "nothing, spawned",
    "start:index:spawn": "index, spawned",
    "start:objects:spawn": "records as objects, spawned",
}


@dataclass(frozen=True)
class AccessPlan:
    """Files to make, and how much to measure."""

    size: DataSize
    workers: int
    reads: int
    rounds: int
    openings: int = 5


@dataclass(frozen=True)
class AccessReport:
    """The cost of every measurement, by its name."""

    plan: AccessPlan
    cores: int | None
    index_megabytes: float
    archive_megabytes: float
    measurements: Mapping[str, AccessCost]


def access_page(report: AccessReport) -> str:
    """Render what it costs to open an index, to start workers with it, and to read images."""
    plan, size = report.plan, report.plan.size
    return markdown_page(
        "# Data access: time and memory",
        f"Written by `python -m benchmarks.data_access` on {report.cores} cores. An index of {size.images} images with"
        f" {size.segments} segments each ({report.index_megabytes:.0f} MB), and {size.files} images of 96 x 128 pixels"
        f" stored in a zip file ({report.archive_megabytes:.0f} MB) and loose in a folder. Every measurement runs in a"
        " process of its own, with all files in the system's cache. PSS divides shared pages among the processes that"
        " share them; private pages are those that no other process shares at the time, mapped files included.",
        "## Opening",
        f"Median of {plan.openings} processes.",
        _opening(report.measurements),
        f"## Starting {plan.workers} workers",
        f"Until each has looked at {plan.reads} random records. Memory is the mean per worker while all are alive.",
        _starting(report.measurements),
        f"## Reading {plan.reads} random images",
        f"Seconds, medians of {plan.rounds} rounds in which folder and zip file are interleaved, with the lowest and"
        " the highest in brackets. The zip file is read in place, at the offsets that the index records.",
        _reading(report),
    )


def _opening(costs: Mapping[str, AccessCost]) -> str:
    rows = []
    for name, label in OPENING.items():
        cost = costs[name]
        assert cost.memory
        seconds = Summary.of(cost.seconds).median
        rows.append([label, f"{seconds:.4f}", f"{cost.memory.rss:.1f}", f"{cost.memory.private:.1f}"])
    return markdown_table(["", "seconds", "RSS, MB", "private, MB"], rows)


def _starting(costs: Mapping[str, AccessCost]) -> str:
    rows = []
    for name, label in STARTING.items():
        cost, base = costs[name], costs[f"start:nothing:{name.rpartition(':')[2]}"].memory
        assert cost.memory
        assert base
        memory = cost.memory.pss, cost.memory.private, cost.memory.above(base).private
        rows.append([label, f"{cost.seconds[0]:.2f}", *(f"{megabytes:.1f}" for megabytes in memory)])
    header = ["workers hold", "seconds", "PSS, MB", "private, MB", "more private than with nothing, MB"]
    return markdown_table(header, rows)


def _reading(report: AccessReport) -> str:
    rows = []
    for name, label in (("read", "bytes"), ("decode", "decoded")):
        for processes in (1, report.plan.workers):
            folder, archive = (
                report.measurements[f"{name}:{source}:{processes}"].seconds for source in ("folder", "archive")
            )
            summaries = Summary.of(folder), Summary.of(archive), Summary.of_ratios(archive, folder)
            label_of_row = f"{label}, {processes} process{'es' if processes > 1 else ''}"
            rows.append([label_of_row, *(f"{summary:.3f}" for summary in summaries)])
    return markdown_table(["", "folder", "zip file", "zip file / folder"], rows)
