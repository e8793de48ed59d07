"""Train a network of medium size longer, on a larger drawn dataset, and score it.

    python -m benchmarks.long_training
    python -m benchmarks.long_training --recipe own.yaml --images 4000 --val-images 500

The images are drawn once, into the recipe's dataset.root; then the stages verify them, train, predict and score. An
interrupted training resumes from its last checkpoint. The recipe is meant for a GPU; without one it would take days.
Writes long_training.md and long_training.json.
"""

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.device import machine_name
from benchmarks.harness.results import publish
from benchmarks.harness.stages import Stages, percentages
from benchmarks.long_training.report import TrainingOutcome, outcome_page
from panoptic.datasets.layout import DatasetSettings
from panoptic.index import PanopticIndex
from panoptic.io.json_fields import read_json
from panoptic.runtime.cli import run_command
from panoptic.tools.mini.write import write_dataset
from pipelines.override import override_settings
from stages.settings import load_section

RECIPE = Path("experiments/mini_large.yaml")
WORK = Path("runs/benchmarks/long_training")
IMAGES = (16_000, 1_000)
"""Images to train on, and to score."""


def train_and_score(recipe: Path, work: Path, images: tuple[int, int]) -> TrainingOutcome:
    """Train with the recipe over params.yaml, and score; `images` are those to train on and to score."""
    params = work / "params.yaml"
    work.mkdir(parents=True, exist_ok=True)
    override_settings(Path("params.yaml"), [recipe], params)
    dataset = load_section(params, "dataset", DatasetSettings)
    if Path(dataset.root).exists():
        print(f"{dataset.root} exists; its images are used")
    else:
        print(f"drawing {sum(images)} images into {dataset.root}")
        write_dataset(Path(dataset.root), *images, seed=0, processes=os.cpu_count() or 1)
    stages = Stages(len(os.sched_getaffinity(0)), shown=True)
    stages.annotate(params, work)
    resumed = stages.train(params, work / "annotate", work)
    metrics = stages.score(params, work / "annotate" / "val.index", work / "model.safetensors", work)
    trained = read_json(work / "train" / "metrics.json")
    return TrainingOutcome(
        recipe=str(recipe),
        device=machine_name(),
        torch=torch.__version__,
        images=len(PanopticIndex.load(work / "annotate" / "train.index").records),
        parameters=trained.integer("parameters"),
        steps=trained.integer("steps"),
        seconds=None if resumed else trained.number("seconds_since_last_start"),
        pq=percentages(metrics.child("pq")),
        boundary_pq=percentages(metrics.child("boundary_pq")),
        curve=list(_curve(work / "train" / "quality.csv")),
    )


def _curve(path: Path) -> Iterator[dict[str, float]]:
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield {name: float(value) for name, value in row.items() if value}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = benchmark_parser("long_training", __doc__)
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="overrides of params.yaml (default: %(default)s)")
    parser.add_argument("--images", type=int, default=IMAGES[0], help="to draw for training (%(default)s)")
    parser.add_argument("--val-images", type=int, default=IMAGES[1], help="to draw for scoring (%(default)s)")
    parser.add_argument("--work", type=Path, default=WORK, help="folder for the run (default: %(default)s)")
    arguments = parser.parse_args(argv)

    def command() -> None:
        images = arguments.images, arguments.val_images
        if min(images) < 1:
            raise ValueError(f"--images is {images[0]}, --val-images {images[1]}; give at least 1")
        outcome = train_and_score(arguments.recipe, arguments.work, images)
        publish("long_training", outcome_page(outcome), outcome, arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()
