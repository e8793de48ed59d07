"""The settings that ship with the repository are what the stages accept."""

from pathlib import Path

import pytest

from model.inference import InferenceSettings
from model.network.config import NetworkConfig
from model.training.settings import TrainSettings
from panoptic.layout import DatasetSettings
from stages.settings import SECTIONS, load_section

ROOT = Path(__file__).parents[1]
SCHEMAS = {"dataset": DatasetSettings, "model": NetworkConfig, "train": TrainSettings, "predict": InferenceSettings}


@pytest.mark.parametrize("name", sorted(SECTIONS))
@pytest.mark.parametrize("params", [ROOT / "params.yaml", *sorted((ROOT / "experiments").iterdir())], ids=str)
def test_every_section_fits_its_dataclass(params: Path, name: str) -> None:
    assert isinstance(load_section(params, name, SCHEMAS[name]), SCHEMAS[name])
