"""What a recipe would take, before it is run: images, steps, disk, memory and hours.

    python -m benchmarks.plan experiments/coco.yaml experiments/coco/12e.yaml
    python -m benchmarks.plan experiments/coco.yaml experiments/coco/12e.yaml --gpus 8 --json plan.json

The files are laid over params.yaml, which stays as it is; without any, the plan is that of params.yaml. Neither the
dataset nor pretrained weights nor a network are needed: a few training steps and predictions are measured here, with
random weights, on images of the sizes that the recipe's augmentation gives.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.plan.dataset import Recipe
from benchmarks.plan.plan import make_plan
from benchmarks.plan.report import table, to_json
from model.inference.predict import InferenceSettings
from model.network.config import NetworkConfig
from model.training.settings import TrainSettings
from panoptic.datasets.download.obtaining import DownloadSettings
from panoptic.datasets.layout import DatasetSettings
from panoptic.datasets.shards import AnnotateSettings
from panoptic.io.files import write_atomically
from panoptic.robustness.corrupted_split import CorruptSettings
from panoptic.runtime.cli import run_command
from pipelines.dvc_project.parameters import read_parameters, write_parameters
from pipelines.override import change_settings, override_settings
from pipelines.process.flow_command import setting
from stages.settings import load_section


def read_recipe(params: Path, overlays: Sequence[Path], settings: Mapping[str, str], processes: int) -> Recipe:
    """The settings in `params` with files laid over them and then single ones changed; no file is changed.

    Raises `ValueError` for settings that a stage would refuse.
    """
    with TemporaryDirectory() as folder:
        laid = Path(folder, "params.yaml")
        override_settings(params, overlays, laid)
        if settings:
            document = read_parameters(laid)
            change_settings(document, settings, params, new_keys=True)
            write_parameters(document, laid)
        return Recipe(
            dataset=load_section(laid, "dataset", DatasetSettings),
            download=load_section(laid, "download", DownloadSettings),
            annotate=load_section(laid, "annotate", AnnotateSettings),
            model=load_section(laid, "model", NetworkConfig),
            train=load_section(laid, "train", TrainSettings),
            predict=load_section(laid, "predict", InferenceSettings),
            corrupt=load_section(laid, "corrupt", CorruptSettings),
            processes=processes,
        )


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plan", description=__doc__.splitlines()[0])
    parser.add_argument("overlays", nargs="*", type=Path, metavar="FILE", help="files in experiments/, in this order")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="settings to lay them over")
    parser.add_argument("--set", nargs="+", type=setting, default=[], metavar="KEY=VALUE", help="single settings")
    parser.add_argument(
        "--gpus",
        type=int,
        default=max(1, torch.cuda.device_count()),
        help="processes that share each step (default: the GPUs of this machine, or one process)",
    )
    parser.add_argument("--annotated", type=Path, default=Path("runs/annotate"), help="folder with indices, if there")
    parser.add_argument(
        "--measure-steps", type=int, default=3, metavar="N", help="times that each step is measured; 0: count only"
    )
    parser.add_argument("--json", type=Path, help="file to write the plan to as well")
    arguments = parser.parse_args(argv)

    def command() -> None:
        recipe = read_recipe(arguments.params, arguments.overlays, dict(arguments.set), arguments.gpus)
        plan = make_plan(recipe, arguments.annotated, max(0, arguments.measure_steps))
        print(table(plan))
        if arguments.json:
            write_atomically(arguments.json, (json.dumps(to_json(plan), indent=1) + "\n").encode())

    run_command(command)


if __name__ == "__main__":
    main()
