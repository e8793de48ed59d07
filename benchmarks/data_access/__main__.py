"""Time and memory of a large dataset's index, and of reading images from a zip file in place or from a folder.

    python -m benchmarks.data_access
    python -m benchmarks.data_access --images 5000 --files 5000 --rounds 3

Makes an index as large as that of COCO's train2017 and 120 000 small images, zipped and loose, in a temporary folder
(or in --folder, which is kept and used again). Every measurement runs in a process of its own. Writes data_access.md
and data_access.json. Linux only: memory is read from /proc.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from benchmarks.data_access.report import OPENING, STARTING, AccessPlan, AccessReport, access_page
from benchmarks.data_access.worker import AccessCost, MemoryUse
from benchmarks.data_access.workload import DataFiles, DataSize, write_files
from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.interleave import run_worker
from benchmarks.harness.results import publish
from panoptic.index import PanopticIndex
from panoptic.io.working_folder import working_folder
from panoptic.runtime.cli import run_command

_MEGABYTE = 1e6
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1")


def measure(plan: AccessPlan, folder: Path | None) -> AccessReport:
    """Make the files in `folder`, or use those that are there, and measure."""
    with ExitStack() as stack:
        folder = folder or Path(stack.enter_context(working_folder())) / "files"
        files = DataFiles(folder) if (folder / "train.index").exists() else write_files(folder, plan.size)
        if (found := len(PanopticIndex.load(files.index).records)) != plan.size.images:
            raise ValueError(f"{folder} has an index of {found} images, not {plan.size.images}; give another folder")
        return AccessReport(
            plan=plan,
            cores=os.cpu_count(),
            index_megabytes=files.index.stat().st_size / _MEGABYTE,
            archive_megabytes=files.archive.stat().st_size / _MEGABYTE,
            measurements=_measure_all(plan, files),
        )


def _measure_all(plan: AccessPlan, files: DataFiles) -> dict[str, AccessCost]:
    names = [*(name for _ in range(plan.openings) for name in OPENING), *STARTING, "read"]
    costs: dict[str, AccessCost] = {}
    for name in tqdm(names, desc="measure", unit="process"):
        for cost in _measure_alone(name, plan, files):
            earlier = costs[cost.name].seconds if cost.name in costs else []
            costs[cost.name] = replace(cost, seconds=earlier + cost.seconds)
    return costs


def _measure_alone(name: str, plan: AccessPlan, files: DataFiles) -> Iterator[AccessCost]:
    numbers = "--workers", plan.workers, "--reads", plan.reads, "--rounds", plan.rounds
    environment = {**os.environ, **_ONE_THREAD}
    for cost in json.loads(run_worker("data_access.worker", name, files.folder, *numbers, environment=environment)):
        memory = cost.pop("memory")
        yield AccessCost(**cost, memory=MemoryUse(**memory) if memory else None)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = benchmark_parser("data_access", __doc__)
    size = DataSize()
    parser.add_argument("--images", type=int, default=size.images, help="in the index (default: %(default)s)")
    parser.add_argument("--segments", type=int, default=size.segments, help="per image (default: %(default)s)")
    parser.add_argument("--files", type=int, default=size.files, help="zipped and loose (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=8, help="processes that share the work (default: 8)")
    parser.add_argument("--reads", type=int, default=5000, help="random images to read (default: 5000)")
    parser.add_argument("--rounds", type=int, default=15, help="of reading (default: 15)")
    parser.add_argument("--folder", type=Path, help="make the files here and keep them (default: a temporary folder)")
    arguments = parser.parse_args(argv)

    def command() -> None:
        counts = (arguments.images, arguments.segments, arguments.reads, arguments.rounds)
        if min(counts) < 1 or arguments.workers < 2 or arguments.files < arguments.images:
            raise ValueError("give at least one of everything, two workers, and as many files as images")
        size = DataSize(arguments.images, arguments.segments, arguments.files)
        report = measure(AccessPlan(size, arguments.workers, arguments.reads, arguments.rounds), arguments.folder)
        publish("data_access", access_page(report), report, arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()
