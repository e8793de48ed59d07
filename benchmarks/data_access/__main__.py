"""Time and memory of a large dataset's index, and of reading images in place from a zip file or from a folder.

    python -m benchmarks.data_access
    python -m benchmarks.data_access --images 5000 --files 5000 --rounds 3

Makes an index as large as that of COCO's train2017 and 120 000 small images, in a zip file and loose, below a
temporary folder (or --folder, which is kept and used again). Every measurement is a process of its own. Writes
data_access.md and data_access.json. Linux only: memory is read from /proc.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tqdm import tqdm

from benchmarks.data_access.worker import Measured, Memory
from benchmarks.data_access.workload import DataFiles, DataSize, write_files
from benchmarks.harness.report import spread
from panoptic.index import PanopticIndex
from panoptic.io.files import write_atomically
from panoptic.runtime.cli import run_command

_OPENING = {
    "open:index": "index",
    "open:objects": "index, all records made",
    "open:archive": "index and its zip file",
    "open:directory": "zip file by its own directory",
}
_STARTING = {
    "start:nothing:fork": "nothing, forked",
    "start:index:fork": "index, forked",
    "start:objects:fork": "records as objects, forked",
    "start:nothing:spawn": "nothing, spawned",
    "start:index:spawn": "index, spawned",
    "start:objects:spawn": "records as objects, spawned",
}
_OPENED_TIMES = 5


@dataclass(frozen=True)
class Plan:
    """What to make and how much to measure."""

    size: DataSize
    workers: int
    reads: int
    rounds: int


def data_access(plan: Plan, folder: Path | None, out: Path) -> None:
    """Make the files, measure, and write the page."""
    with ExitStack() as stack:
        place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "files"
        files = DataFiles(place) if (place / "train.index").exists() else write_files(place, plan.size)
        if (found := len(PanopticIndex.load(files.index).records)) != plan.size.images:
            raise ValueError(f"{place} has an index of {found} images, not {plan.size.images}; give another folder")
        sizes = files.index.stat().st_size, files.archive.stat().st_size
        measured = _measure(plan, files)
    content = {"plan": asdict(plan), "measurements": {name: asdict(one) for name, one in measured.items()}}
    page = markdown(plan, sizes, measured)
    write_atomically(out / "data_access.json", (json.dumps(content, indent=1) + "\n").encode())
    write_atomically(out / "data_access.md", page.encode())
    print(page)


def _measure(plan: Plan, files: DataFiles) -> dict[str, Measured]:
    turns = [*(name for _ in range(_OPENED_TIMES) for name in _OPENING), *_STARTING, "read"]
    found: dict[str, Measured] = {}
    for name in tqdm(turns, desc="measure", unit="process"):
        for one in _measure_alone(name, plan, files):
            before = found[one.name].seconds if one.name in found else []
            found[one.name] = replace(one, seconds=before + one.seconds)
    return found


def _measure_alone(name: str, plan: Plan, files: DataFiles) -> Iterator[Measured]:
    command = [sys.executable, "-m", "benchmarks.data_access.worker", name, str(files.folder)]
    numbers = ["--workers", str(plan.workers), "--reads", str(plan.reads), "--rounds", str(plan.rounds)]
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1")
    environment = {**os.environ, **one_thread}
    done = subprocess.run([*command, *numbers], env=environment, stdout=subprocess.PIPE, check=True)
    for one in json.loads(done.stdout):
        memory = one.pop("memory")
        yield Measured(**one, memory=Memory(**memory) if memory else None)


def markdown(plan: Plan, sizes: tuple[int, int], measured: Mapping[str, Measured]) -> str:
    """The page; `sizes` are the bytes of the index and of the archive."""
    size = plan.size
    introduction = (
        f"Written by `python -m benchmarks.data_access` on {os.cpu_count()} cores. An index of {size.images} images"
        f" with {size.segments} segments each ({sizes[0] / 1e6:.0f} MB), and {size.files} images of 96 x 128 pixels"
        f" stored in a zip file ({sizes[1] / 1e6:.0f} MB) and loose in a folder. Every measurement is a process of its"
        " own, with all files in the system's cache. PSS counts a page that several processes share by its share;"
        " private are those that none shares at the time, pages of mapped files included."
    )
    lines = ["# Data access: time and memory", "", introduction, ""]
    lines += _opening(measured)
    lines += _starting(plan, measured)
    lines += _reading(plan, measured)
    return "\n".join(lines).rstrip() + "\n"


def _opening(measured: Mapping[str, Measured]) -> Iterator[str]:
    yield from ("## Opening", "", f"Median of {_OPENED_TIMES} processes.", "")
    yield "| | seconds | RSS, MB | private, MB |"
    yield "|---|---:|---:|---:|"
    for name, label in _OPENING.items():
        one = measured[name]
        assert one.memory
        yield f"| {label} | {statistics.median(one.seconds):.4f} | {one.memory.rss:.1f} | {one.memory.private:.1f} |"
    yield ""


def _starting(plan: Plan, measured: Mapping[str, Measured]) -> Iterator[str]:
    yield from (f"## {plan.workers} workers that hold it", "")
    yield f"Until each has looked at {plan.reads} random records. Memory is the mean of a worker; all are alive then."
    yield ""
    yield "| | seconds | PSS, MB | private, MB | more private than with nothing, MB |"
    yield "|---|---:|---:|---:|---:|"
    for name, label in _STARTING.items():
        one, base = measured[name], measured[f"start:nothing:{name.rpartition(':')[2]}"].memory
        assert one.memory
        assert base
        numbers = f"{one.memory.pss:.1f} | {one.memory.private:.1f} | {one.memory.above(base).private:.1f}"
        yield f"| {label} | {one.seconds[0]:.2f} | {numbers} |"
    yield ""


def _reading(plan: Plan, measured: Mapping[str, Measured]) -> Iterator[str]:
    yield from (f"## Reading {plan.reads} random images", "")
    yield (
        f"Seconds, medians of {plan.rounds} rounds, lowest and highest in brackets, in which folder and zip file take"
        " turns. The zip file is read in place, at the places that the index notes."
    )
    yield ""
    yield "| | folder | zip file | zip file / folder |"
    yield "|---|---:|---:|---:|"
    for kind, label in (("read", "bytes"), ("decode", "decoded")):
        for processes in (1, plan.workers):
            folder, archive = (measured[f"{kind}:{name}:{processes}"].seconds for name in ("folder", "archive"))
            ratios = [one / other for one, other in zip(archive, folder, strict=True)]
            cells = " | ".join(spread(values, 3) for values in (folder, archive, ratios))
            yield f"| {label}, {processes} process{'es' if processes > 1 else ''} | {cells} |"
    yield ""


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data_access", description=__doc__.splitlines()[0])
    size = DataSize()
    parser.add_argument("--images", type=int, default=size.images, help="in the index (default: 118287)")
    parser.add_argument("--segments", type=int, default=size.segments, help="of each image (default: 11)")
    parser.add_argument("--files", type=int, default=size.files, help="zipped and loose (default: 120000)")
    parser.add_argument("--workers", type=int, default=8, help="processes that share the work (default: 8)")
    parser.add_argument("--reads", type=int, default=5000, help="random images to read (default: 5000)")
    parser.add_argument("--rounds", type=int, default=15, help="of reading (default: 15)")
    parser.add_argument("--folder", type=Path, help="make the files here, and keep them (default: a temporary folder)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for the page")
    arguments = parser.parse_args(argv)

    def command() -> None:
        counts = (arguments.images, arguments.segments, arguments.reads, arguments.rounds)
        if min(counts) < 1 or arguments.workers < 2 or arguments.files < arguments.images:
            raise ValueError("give at least one of everything, two workers, and as many files as images")
        size = DataSize(arguments.images, arguments.segments, arguments.files)
        plan = Plan(size, arguments.workers, arguments.reads, arguments.rounds)
        data_access(plan, arguments.folder, arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()
