"""A longer training of a network of middle size on a larger drawn dataset, and its PQ.

    python -m benchmarks.long_training
    python -m benchmarks.long_training --recipe own.yaml --images 4000 --val-images 500

The images are drawn once, into the recipe's dataset.root; then the stages verify them, train, predict and score.
What was interrupted goes on where it was. The recipe is meant for a GPU; without one it would take days. Writes
long_training.md and long_training.json.
"""

import argparse
import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.harness.report import device_name
from benchmarks.harness.stages import Stages
from panoptic.datasets.layout import DatasetSettings
from panoptic.index import PanopticIndex
from panoptic.io.files import write_atomically
from panoptic.runtime.cli import run_command
from panoptic.tools.mini.write import write_dataset
from pipelines.override import override_settings
from pipelines.process.session import CommandError
from stages.settings import load_section

RECIPE = Path("experiments/mini_large.yaml")
WORK = Path("runs/benchmarks/long_training")
IMAGES = (16_000, 1_000)
"""To train on, and to score."""
KINDS = ("all", "things", "stuff")


@dataclass(frozen=True)
class Outcome:
    """What was trained, on what, and how good it became; PQ in percent."""

    recipe: str
    device: str
    torch: str
    images: int
    parameters: int
    steps: int
    seconds: float | None  # of training; None where it was interrupted
    pq: Mapping[str, float]
    boundary_pq: Mapping[str, float]
    curve: Sequence[Mapping[str, float]]
    """Step and PQ of every validation during training."""


def train_and_score(recipe: Path, work: Path, images: tuple[int, int]) -> Outcome:
    """All of it, with settings of params.yaml under the recipe; `images` are those to train on and to score."""
    params = work / "params.yaml"
    work.mkdir(parents=True, exist_ok=True)
    override_settings(Path("params.yaml"), [recipe], params)
    dataset = load_section(params, "dataset", DatasetSettings)
    if Path(dataset.root).exists():
        print(f"{dataset.root} is there already; its images are used")
    else:
        print(f"drawing {sum(images)} images into {dataset.root}")
        write_dataset(Path(dataset.root), *images, seed=0, processes=os.cpu_count() or 1)
    stages = Stages(len(os.sched_getaffinity(0)), shown=True)
    stages.annotate(params, work)
    resumed = stages.train(params, work / "annotate", work)
    metrics = stages.score(params, work / "annotate" / "val.index", work / "model.safetensors", work)
    trained = json.loads((work / "train" / "metrics.json").read_text())
    return Outcome(
        recipe=str(recipe),
        device=device_name(),
        torch=torch.__version__,
        images=len(PanopticIndex.load(work / "annotate" / "train.index").records),
        parameters=trained["parameters"],
        steps=trained["steps"],
        seconds=None if resumed else trained["seconds_since_last_start"],
        pq=_percent(metrics["pq"]),
        boundary_pq=_percent(metrics["boundary_pq"]),
        curve=list(_curve(work / "train" / "quality.csv")),
    )


def _percent(quality: object) -> dict[str, float]:
    assert isinstance(quality, dict)
    return {kind: 100 * (float("nan") if quality[kind] is None else quality[kind]) for kind in KINDS}


def _curve(path: Path) -> Iterator[dict[str, float]]:
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            yield {name: float(value) for name, value in row.items() if value}


def markdown(outcome: Outcome) -> str:
    """The page."""
    took = "interrupted, so not timed" if outcome.seconds is None else f"{outcome.seconds / 60:.1f} minutes"
    introduction = (
        f"Written by `python -m benchmarks.long_training` on {outcome.device}, torch {outcome.torch}:"
        f" `{outcome.recipe}` over `params.yaml`, {outcome.parameters / 1e6:.1f} million parameters,"
        f" {outcome.steps} steps on {outcome.images} drawn images ({took})."
    )
    lines = ["# A longer training", "", introduction, "", "| | all | things | stuff |", "|---|---:|---:|---:|"]
    for name, quality in (("PQ", outcome.pq), ("boundary PQ", outcome.boundary_pq)):
        lines.append(f"| {name} | " + " | ".join(f"{quality[kind]:.1f}" for kind in KINDS) + " |")
    lines += ["", "PQ during training:", "", "| step | all | things | stuff |", "|---:|---:|---:|---:|"]
    for row in outcome.curve:
        lines.append(f"| {row['step']:.0f} | " + " | ".join(f"{row[kind]:.1f}" for kind in KINDS) + " |")
    return "\n".join(lines) + "\n"


def write(recipe: Path, work: Path, images: tuple[int, int], out: Path) -> None:
    """Train, score and write the page.

    Raises:
        ValueError: a stage failed; says why.
    """
    try:
        outcome = train_and_score(recipe, work, images)
    except CommandError as error:
        raise ValueError(str(error)) from error
    write_atomically(out / "long_training.json", (json.dumps(asdict(outcome), indent=1) + "\n").encode())
    write_atomically(out / "long_training.md", markdown(outcome).encode())
    print(markdown(outcome))


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long_training", description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", type=Path, default=RECIPE, help=f"laid over params.yaml (default: {RECIPE})")
    parser.add_argument("--images", type=int, default=IMAGES[0], help="to draw for training (%(default)s)")
    parser.add_argument("--val-images", type=int, default=IMAGES[1], help="to draw for scoring (%(default)s)")
    parser.add_argument("--work", type=Path, default=WORK, help=f"folder for the run (default: {WORK})")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for the page")
    arguments = parser.parse_args(argv)

    def command() -> None:
        images = arguments.images, arguments.val_images
        if min(images) < 1:
            raise ValueError(f"--images is {images[0]}, --val-images {images[1]}; give at least 1")
        write(arguments.recipe, arguments.work, images, arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()
