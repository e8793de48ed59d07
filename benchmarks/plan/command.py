"""What the command `panoptic plan` does, apart from its parser: see `__main__`."""

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
from pipelines.dvc_project.parameters import read_parameters, write_parameters
from pipelines.override import change_settings, override_settings
from stages.settings import load_section


def plan(arguments: argparse.Namespace) -> None:
    """Print the plan of a recipe, and write it to a file if one is named.

    Raises:
        ValueError: there are no settings, or a stage would refuse them.
    """
    if not arguments.params.exists():
        raise ValueError(
            f"{arguments.params.absolute()}: no such file; change to a checkout of the project, which has params.yaml "
            "and experiments/, or name a file of settings with --params"
        )
    gpus = max(1, torch.cuda.device_count()) if arguments.gpus is None else arguments.gpus
    recipe = read_recipe(arguments.params, arguments.overrides, dict(arguments.set), gpus)
    made = make_plan(recipe, arguments.annotated, max(0, arguments.measure_steps))
    print(plan_table(made))
    if arguments.json:
        write_json(arguments.json, to_json(made))


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
        try:
            return _read_sections(merged, processes)
        except ValueError as error:
            named = " with ".join(filter(None, (str(params), ", ".join(map(str, overrides)))))
            raise ValueError(str(error).replace(str(merged), named)) from error


def _read_sections(params: Path, processes: int) -> Recipe:
    return Recipe(
        dataset=load_section(params, "dataset", DatasetSettings),
        download=load_section(params, "download", DownloadSettings),
        annotate=load_section(params, "annotate", AnnotateSettings),
        model=load_section(params, "model", NetworkConfig),
        train=load_section(params, "train", TrainSettings),
        predict=load_section(params, "predict", InferenceSettings),
        corrupt=load_section(params, "corrupt", CorruptSettings),
        processes=processes,
    )
