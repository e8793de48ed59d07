"""Estimate the cost of a recipe before it is run: images, steps, disk, memory and hours.

    python -m benchmarks.plan experiments/coco.yaml experiments/coco/12e.yaml
    python -m benchmarks.plan experiments/coco.yaml experiments/coco/12e.yaml --gpus 8 --json plan.json

The files override params.yaml, which is not changed; without any, the plan is that of params.yaml. It needs no dataset,
no pretrained weights and no network connection: a few training steps and predictions are measured here, with random
weights, on images of the sizes that the recipe's augmentation produces.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from benchmarks.plan.dataset import Recipe
from benchmarks.plan.plan import make_plan
from benchmarks.plan.report import plan_table, to_json
from model.inference.settings import InferenceSettings
from model.network.config import NetworkConfig
from model.training.settings import TrainSettings
from panoptic.datasets.download.obtaining import DownloadSettings
from panoptic.datasets.layout import DatasetSettings
from panoptic.datasets.shards import AnnotateSettings
from panoptic.io.json_fields import write_json
from panoptic.io.working_folder import working_folder
from panoptic.robustness.corrupted_split import CorruptSettings
from panoptic.runtime.cli import run_command
from pipelines.dvc_project.parameters import read_parameters, write_parameters
from pipelines.override import change_settings, override_settings
from pipelines.process.flow_command import setting
from stages.settings import load_section


def read_recipe(params: Path, overrides: Sequence[Path], settings: Mapping[str, str], processes: int) -> Recipe:
    """Read the settings in `params`, overridden by files and then by single settings; no file is changed.

    Raises:
        ValueError: a stage would refuse the settings.
    """
    with working_folder() as folder:
        merged = Path(folder, "params.yaml")
        override_settings(params, overrides, merged)
        if settings:
            document = read_parameters(merged)
            change_settings(document, settings, params, new_keys=True)
            write_parameters(document, merged)
        return Recipe(
            dataset=load_section(merged, "dataset", DatasetSettings),
            download=load_section(merged, "download", DownloadSettings),
            annotate=load_section(merged, "annotate", AnnotateSettings),
            model=load_section(merged, "model", NetworkConfig),
            train=load_section(merged, "train", TrainSettings),
            predict=load_section(merged, "predict", InferenceSettings),
            corrupt=load_section(merged, "corrupt", CorruptSettings),
            processes=processes,
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plan", description=__doc__.splitlines()[0])
    parser.add_argument(
        "overrides",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="files in experiments/, later ones override earlier ones",
    )
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="settings to override")
    parser.add_argument("--set", nargs="+", type=setting, default=[], metavar="KEY=VALUE", help="single settings")
    parser.add_argument(
        "--gpus",
        type=int,
        default=max(1, torch.cuda.device_count()),
        help="processes that share each step (default: the GPUs of this machine, or one process)",
    )
    parser.add_argument(
        "--annotated", type=Path, default=Path("runs/annotate"), help="folder with indices, if it exists"
    )
    parser.add_argument(
        "--measure-steps", type=int, default=3, metavar="N", help="repetitions of each measurement; 0: count only"
    )
    parser.add_argument("--json", type=Path, help="file to write the plan to as well")
    arguments = parser.parse_args(argv)

    def command() -> None:
        recipe = read_recipe(arguments.params, arguments.overrides, dict(arguments.set), arguments.gpus)
        plan = make_plan(recipe, arguments.annotated, max(0, arguments.measure_steps))
        print(plan_table(plan))
        if arguments.json:
            write_json(arguments.json, to_json(plan))

    run_command(command)


if __name__ == "__main__":
    main()
