"""Time and memory of every step from a dataset to its browser entries: check, train, predict, score, corrupt.

    python -m benchmarks.chain --data ../shared/coco-160 --train train2017 --val val2017
    python -m benchmarks.chain --data ../coco --override experiments/coco.yaml

Takes any dataset in COCO panoptic layout. The steps are the commands of dvc.yaml with the settings of params.yaml, a
short training and a few corrupted images; `--override` changes settings as `python -m pipelines.override` does. Each
step is a program of its own, as DVC runs it. Writes chain.md and chain.json.
"""

import json
import os
import resource
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.chain.report import ChainReport, StepCost, chain_page
from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.device import machine_name
from benchmarks.harness.results import publish
from benchmarks.harness.timer import Timer
from model.complexity.memory import status_bytes
from model.training.settings import TrainSettings
from panoptic.index import PanopticIndex
from panoptic.io.json_fields import read_json
from panoptic.io.working_folder import working_folder
from panoptic.runtime.cli import ending_with_this, run_command
from pipelines.dvc_project.parameters import read_parameters
from pipelines.override import override_settings
from stages.settings import load_section

ROOT = Path(__file__).parents[2]
STAGES = ("download", "annotate", "train", "predict", "evaluate", "corrupt", "robustness", "browse", "report")
SETTINGS = {
    "train": {"epochs": 1, "augmentation": {"resize_shorter": [240], "resize_longer_max": 320}},
    "predict": {"shorter": 480, "longer": 640, "batch_size": 1},
    "corrupt": {"images": 4, "severities": [3], "archives": True},
}
"""Changes of params.yaml: images of COCO's size, and as little of the slow steps as shows their cost."""


def chain_commands(data: Path) -> dict[str, list[str]]:
    """Return the command line of every step, to be run in a folder that has `params.yaml`."""
    stages = read_parameters(ROOT / "dvc.yaml")["stages"]
    check = ["python", "-m", "panoptic.tools.check", str(data), "--page", "runs/check.html", "--workers", "0"]
    return {"check": check} | {name: shlex.split(stages[name]["cmd"]) for name in STAGES}


def measure_chain(params: Path, data: Path, folder: Path) -> tuple[StepCost, ...]:
    """Run all steps in `folder`, where they write, with the settings `params`.

    Raises:
        ValueError: a step failed; the message ends with its last output.
    """
    timer, costs = Timer(), {}
    for name, command in chain_commands(data).items():
        print(f"{name} ...", end="", file=sys.stderr, flush=True)
        before = _cpu_seconds()
        peak = timer.lap(name, _peak_bytes, command, folder, folder / f"{name}.log")
        costs[name] = peak, _cpu_seconds() - before
        print(f" {timer.laps[name]:.1f} s", file=sys.stderr)
    images = _images_by_step(params, folder / "runs")
    return tuple(StepCost(name, timer.laps[name], cpu, images[name], peak) for name, (peak, cpu) in costs.items())


def _cpu_seconds() -> float:
    """CPU time of all programs that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _peak_bytes(command: Sequence[str], folder: Path, log: Path) -> int:
    """Run a program to its end and return the peak of its memory (Linux), without that of worker processes."""
    environment, peak = {**ending_with_this(), "PYTHONPATH": str(ROOT)}, 0
    with (
        log.open("w", encoding="utf-8") as output,
        subprocess.Popen(
            [sys.executable, *command[1:]], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        ) as process,
    ):
        while process.poll() is None:
            peak = max(peak, status_bytes("VmHWM", str(process.pid)))
            try:
                process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
    if process.returncode:
        raise ValueError(f"{shlex.join(command)} failed:\n{log.read_text(encoding='utf-8')[-2000:]}")
    return peak


def _images_by_step(params: Path, runs: Path) -> dict[str, int]:
    """Count the images that each step went through."""
    train, val = (len(PanopticIndex.load(runs / "annotate" / f"{name}.index").records) for name in ("train", "val"))
    manifest = read_json(runs / "corrupt" / "manifest.json")
    corrupted = len(manifest.integers("image_ids")) * len(list(manifest.objects("variants")))
    return {
        **dict.fromkeys(("check", "download", "annotate"), train + val),
        "train": load_section(params, "train", TrainSettings).epochs * train,
        **dict.fromkeys(("predict", "evaluate"), val),
        "corrupt": corrupted,
        "robustness": corrupted + len(manifest.integers("image_ids")),
        **dict.fromkeys(("browse", "report"), read_json(runs / "browse" / "run.json").integer("images")),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = benchmark_parser("chain", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of a dataset in COCO panoptic layout")
    parser.add_argument("--train", default="train", help="split to train on (default: %(default)s)")
    parser.add_argument("--val", default="val", help="split to predict (default: %(default)s)")
    parser.add_argument("--override", type=Path, nargs="*", default=[], help="more settings, as in experiments/")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each program (default: all cores)")
    arguments = parser.parse_args(argv)

    def command() -> None:
        data: Path = arguments.data.resolve()
        dataset = {"name": data.name, "root": str(data), "train": arguments.train, "val": arguments.val}
        os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
        with working_folder() as folder:
            (folder / "chain.yaml").write_text(
                json.dumps({"dataset": dataset} | SETTINGS), encoding="utf-8"
            )  # JSON is YAML
            params = folder / "params.yaml"
            changes = override_settings(ROOT / params.name, [folder / "chain.yaml", *arguments.override], params)
            settings = tuple(str(change) for change in changes if not change.key.startswith("dataset."))
            steps = measure_chain(params, data, folder)
        report = ChainReport(machine_name(), arguments.threads, data.name, settings, steps)
        publish("chain", chain_page(report), report, arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()
