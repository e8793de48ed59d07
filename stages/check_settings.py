"""Validate files of settings as the stages would, before any of them runs.

    python -m stages.check_settings --params params.yaml [FILE ...]

Every section is read into its dataclass. An unknown key, a wrong type or a value out of range ends in exit status 2
and a message that lists what is valid.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from cluster.settings import ClusterSettings
from model.complexity.settings import ComplexitySettings
from model.explanation.settings import ExplainSettings
from model.inference.settings import InferenceSettings
from model.network.config import NetworkConfig
from model.training.loggers import LoggerSettings
from model.training.settings import TrainSettings
from panoptic.datasets.download.obtaining import DownloadSettings
from panoptic.datasets.layout import DatasetSettings
from panoptic.datasets.shards import AnnotateSettings
from panoptic.robustness.corrupted_split import CorruptSettings
from panoptic.runtime.cli import run_command
from stages.browse import BrowseSettings
from stages.evaluate import EvaluationSettings
from stages.settings import load_section
from stages.train import load_recipe

SCHEMAS: dict[str, type[object]] = {
    "dataset": DatasetSettings,
    "download": DownloadSettings,
    "annotate": AnnotateSettings,
    "model": NetworkConfig,
    "train": TrainSettings,
    "predict": InferenceSettings,
    "evaluate": EvaluationSettings,
    "corrupt": CorruptSettings,
    "complexity": ComplexitySettings,
    "browse": BrowseSettings,
    "explain": ExplainSettings,
    "cluster": ClusterSettings,
    "loggers": LoggerSettings,
}


def check_settings(params: Path) -> dict[str, object]:
    """Read every section of a file as the stages do.

    Raises:
        SettingsError: if a section is missing, its stage does not accept it, or sections do not fit together.
    """
    sections = {name: load_section(params, name, schema) for name, schema in SCHEMAS.items()}
    load_recipe(params)
    return sections


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m stages.check_settings", description=__doc__.splitlines()[0])
    parser.add_argument("--params", nargs="+", type=Path, default=[Path("params.yaml")], help="files to validate")
    arguments = parser.parse_args(argv)

    def check() -> None:
        for params in arguments.params:
            check_settings(params)

    run_command(check)


if __name__ == "__main__":
    main()
