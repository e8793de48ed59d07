"""Time everything that scores images, beside other evaluators, and the corruptions.

    python -m benchmarks.evaluation --images 50
    python -m benchmarks.evaluation --ground-truth-json datasets/coco/annotations/panoptic_val2017.json

Id maps of 480 x 640 pixels are drawn from a seed, or read from a panoptic JSON and the folder of PNGs beside it. Every
measurement is a process of its own; those that are compared are interleaved. Peers that are not installed are left out.
Writes evaluation.md and evaluation.json.
"""

import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from operator import attrgetter
from pathlib import Path

from tqdm import tqdm

from benchmarks.evaluation.make_files import write_workload
from benchmarks.evaluation.peers import AP, PEERS, PQ
from benchmarks.evaluation.report import (
    COMPARED,
    MEASUREMENTS,
    VAL2017,
    EvaluationConditions,
    EvaluationReport,
    evaluation_page,
)
from benchmarks.evaluation.worker import ImageCost
from benchmarks.evaluation.workload import Workload
from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.interleave import run_worker
from benchmarks.harness.results import publish
from panoptic.evaluation import overlaps
from panoptic.evaluation.dataset import PanopticFiles
from panoptic.format import id_map
from panoptic.io.working_folder import working_folder
from panoptic.runtime.cli import run_command

_CORRUPTED_IMAGES = 10  # two for each severity
_ROUNDS = 3
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS")


def evaluate(names: Sequence[str], images: int, repeats: int, given: PanopticFiles | None) -> EvaluationReport:
    """Make the files and measure."""
    peers = {package: _version(package) for package in sorted({PEERS[name].package for name in names if name in PEERS})}
    for package in (package for package, found in peers.items() if found is None):
        print(f"{package} is not installed (see conformance/requirements): its rows are left out", file=sys.stderr)
    names = [name for name in names if name not in PEERS or peers[PEERS[name].package]]
    with working_folder() as folder:
        workload = write_workload(Path(folder), images, _CORRUPTED_IMAGES, 0, given)
        costs = dict(_measure(names, workload, repeats))
        images = workload.count
    _require_equal_scores(costs)
    conditions = EvaluationConditions(
        images=images,
        repeats=repeats,
        source="drawn from a seed, of 480 x 640 pixels" if given is None else f"of {given.panoptic_json.name}",
        device=f"one core of {_processor()}",
        compiled=id_map.COMPILED and overlaps.COMPILED,
        peers={package: found for package, found in peers.items() if found},
    )
    return EvaluationReport(conditions, costs)


def _measure(names: Sequence[str], workload: Workload, repeats: int) -> Iterator[tuple[str, ImageCost]]:
    """Measure each name; what is compared runs in several interleaved processes, of which the median counts."""
    runs = [name for name in names if name in COMPARED] * _ROUNDS
    runs += [name for name in names if name not in COMPARED]
    costs: dict[str, list[ImageCost]] = {name: [] for name in names}
    for name in tqdm(runs, desc="measure", unit="process"):
        costs[name].append(_measure_alone(name, workload, repeats))
    for name, several in costs.items():
        yield name, sorted(several, key=attrgetter("cpu_seconds"))[len(several) // 2]


def _measure_alone(name: str, workload: Workload, repeats: int) -> ImageCost:
    environment = {**os.environ, **dict.fromkeys(_ONE_THREAD, "1")}
    options = name, workload.folder, "--repeats", 1 if name in VAL2017 else repeats
    return ImageCost(**json.loads(run_worker("evaluation.worker", *options, environment=environment)))


def _require_equal_scores(costs: Mapping[str, ImageCost]) -> None:
    """Refuse to compare the times of different answers, but for boundary PQ, of which the page shows them."""
    for name, peer in PEERS.items():
        if not {name, peer.ours} <= costs.keys():
            continue
        ours, theirs = costs[peer.ours].scores, costs[name].scores
        for title in {PQ, AP} & ours.keys() & theirs.keys():
            if abs(ours[title] - theirs[title]) > 1e-9:
                found = f"our {title} and {peer.name}'s differ: {ours[title]} and {theirs[title]}"
                raise ValueError(f"{found}; look for what is special about the ground truth")


def _processor() -> str:
    """Return the name that Linux gives the processor; elsewhere its architecture."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = [line for line in lines if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = benchmark_parser("evaluation", __doc__)
    parser.add_argument("--images", type=int, default=50, help="pairs of id maps (default: 50)")
    parser.add_argument("--repeats", type=int, default=5, help="of every measurement (default: 5)")
    parser.add_argument("--ground-truth-json", type=Path, help="read the id maps of this panoptic JSON")
    parser.add_argument("--ground-truth-folder", type=Path, help="its PNGs, or a zip file (default: beside the JSON)")
    parser.add_argument(
        "--only", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS), metavar="NAME", help="some measurements"
    )
    arguments = parser.parse_args(argv)

    def command() -> None:
        if min(arguments.images, arguments.repeats) < 1:
            raise ValueError("give at least one image and one repeat")
        path: Path | None = arguments.ground_truth_json
        given = PanopticFiles(path, arguments.ground_truth_folder or path.with_suffix("")) if path else None
        report = evaluate(arguments.only, arguments.images, arguments.repeats, given)
        publish("evaluation", evaluation_page(report), report, arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()
