"""Time everything that scores images, and the corruptions, with hotcoco's PQ (PyPI, Rust) beside ours.

    python -m benchmarks.evaluation --images 50
    python -m benchmarks.evaluation --ground-truth-json datasets/coco/annotations/panoptic_val2017.json

Id maps of 480 x 640 pixels are drawn from a seed, or taken from a panoptic JSON, whose PNGs lie in the folder of its
name. Every measurement is a process of its own; those that are compared take turns. Writes evaluation.md and
evaluation.json.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from operator import attrgetter
from pathlib import Path

from tqdm import tqdm

from benchmarks.evaluation.make_files import write_workload
from benchmarks.evaluation.report import COMPARED, MEASUREMENTS, Conditions, markdown, ratio
from benchmarks.evaluation.worker import Measured
from benchmarks.evaluation.workload import Workload
from panoptic.evaluation import overlaps
from panoptic.evaluation.dataset import PanopticFiles
from panoptic.format import id_map
from panoptic.io.files import write_atomically
from panoptic.runtime.cli import run_command

_PAINTED = 10  # images to corrupt, two for each severity
_TURNS = 3
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS")


def evaluate(names: Sequence[str], images: int, repeats: int, given: PanopticFiles | None, out: Path) -> None:
    """Make the files, measure, and write the page."""
    peer = _version("hotcoco")
    if peer is None and "hotcoco" in names:
        print("hotcoco is not installed (make install EXTRAS=dev): its row is left out", file=sys.stderr)
        names = [name for name in names if name != "hotcoco"]
    with tempfile.TemporaryDirectory() as folder:
        workload = write_workload(Path(folder), images, _PAINTED, 0, given)
        measured = dict(_measure(names, workload, repeats))
        images = workload.count
    _check_peer(measured)
    conditions = Conditions(
        images=images,
        repeats=repeats,
        source="drawn from a seed, of 480 x 640 pixels" if given is None else f"of {given.panoptic_json.name}",
        device=f"one core of {_processor()}",
        compiled=id_map.COMPILED and overlaps.COMPILED,
        hotcoco=peer,
    )
    content = {
        "conditions": asdict(conditions),
        "ratio_to_hotcoco": ratio(measured),
        "measurements": {
            name: {**asdict(found), "images_per_second_and_core": 1 / found.cpu_seconds}
            for name, found in measured.items()
        },
    }
    page = markdown(measured, conditions)
    write_atomically(out / "evaluation.json", (json.dumps(content, indent=1) + "\n").encode())
    write_atomically(out / "evaluation.md", page.encode())
    print(page)


def _measure(names: Sequence[str], workload: Workload, repeats: int) -> Iterator[tuple[str, Measured]]:
    """Of measurements that are compared the median of several processes, which take turns."""
    turns = [name for name in names if name in COMPARED] * _TURNS
    turns += [name for name in names if name not in COMPARED]
    found: dict[str, list[Measured]] = {name: [] for name in names}
    for name in tqdm(turns, desc="measure", unit="process"):
        found[name].append(_measure_alone(name, workload, repeats))
    for name, several in found.items():
        yield name, sorted(several, key=attrgetter("cpu_seconds"))[len(several) // 2]


def _measure_alone(name: str, workload: Workload, repeats: int) -> Measured:
    command = [sys.executable, "-m", "benchmarks.evaluation.worker", name, str(workload.folder)]
    done = subprocess.run(
        [*command, "--repeats", str(repeats)],
        env={**os.environ, **dict.fromkeys(_ONE_THREAD, "1")},
        stdout=subprocess.PIPE,
        check=True,
    )
    return Measured(**json.loads(done.stdout))


def _check_peer(measured: dict[str, Measured]) -> None:
    """Times compare only where the answers are one."""
    pqs = {name: measured[name].pq for name in ("pq", "hotcoco") if name in measured}
    first, *others = [pq for pq in pqs.values() if pq is not None] or [0.0]
    if any(abs(pq - first) > 1e-9 for pq in others):
        raise ValueError(f"ours and hotcoco's PQ differ: {pqs}; see what is special about the ground truth")


def _processor() -> str:
    """The name that Linux gives; elsewhere the architecture."""
    names = [line for line in _read(Path("/proc/cpuinfo")).splitlines() if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else platform.machine()


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=50, help="pairs of id maps (default: 50)")
    parser.add_argument("--repeats", type=int, default=5, help="of every measurement (default: 5)")
    parser.add_argument("--ground-truth-json", type=Path, help="take the id maps of this panoptic JSON")
    parser.add_argument("--ground-truth-folder", type=Path, help="its PNGs, or a zip file (default: beside the JSON)")
    parser.add_argument(
        "--only", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS), metavar="NAME", help="some measurements"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for the page")
    arguments = parser.parse_args(argv)

    def command() -> None:
        if min(arguments.images, arguments.repeats) < 1:
            raise ValueError("give at least one image and one repeat")
        listed: Path | None = arguments.ground_truth_json
        given = PanopticFiles(listed, arguments.ground_truth_folder or listed.with_suffix("")) if listed else None
        evaluate(arguments.only, arguments.images, arguments.repeats, given, arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()
