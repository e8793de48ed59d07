"""Weights that the tests of a module share."""

from pathlib import Path

import pytest

from tests.panoptic_segformer.made_model import write_model


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("weights") / "model.safetensors")
