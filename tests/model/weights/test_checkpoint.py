"""Weight files: a round trip, files of earlier versions, and every way in which they can be wrong."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.network.panoptic_segformer import PanopticSegFormer
from model.weights.checkpoint import Checkpoint, CheckpointError, load_checkpoint, metadata_path, save_checkpoint
from panoptic.format.categories import Category, CategoryTable
from tests.model.network.tiny_network import STUFF, THINGS, TINY, tiny_network

NETWORK = tiny_network()
CATEGORIES = CategoryTable(
    tuple(Category(id_, f"thing {id_}", True, (id_, 0, 0)) for id_ in range(1, THINGS + 1)),
    tuple(Category(id_, f"stuff {id_}", False, (id_, 0, 0)) for id_ in range(50, 50 + STUFF)),
)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, Checkpoint(TINY, CATEGORIES, {"steps": "3"}, NETWORK))
    return path


def test_round_trip(weights: Path) -> None:
    loaded = load_checkpoint(weights)
    assert (loaded.config, loaded.categories, loaded.provenance) == (TINY, CATEGORIES, {"steps": "3"})
    assert not loaded.network.training
    for name, value in NETWORK.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], value), name


def test_equal_networks_give_equal_files(weights: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.safetensors"
    save_checkpoint(again, Checkpoint(TINY, CATEGORIES, {"steps": "3"}, NETWORK))
    assert again.read_bytes() == weights.read_bytes()
    assert metadata_path(again).read_bytes() == metadata_path(weights).read_bytes()


def test_weights_of_an_earlier_version_are_read(weights: Path) -> None:
    path = metadata_path(weights)
    metadata = json.loads(path.read_text())
    metadata["format"] = "panoptic-segformer/1"
    metadata["model"]["query_initialisation"] = metadata["model"].pop("query_initialization")
    path.write_text(json.dumps(metadata))
    loaded = load_checkpoint(weights)
    assert loaded.config == TINY
    for name, value in NETWORK.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], value), name


def test_values_of_an_earlier_version_are_read_and_wrong_ones_name_the_file(weights: Path) -> None:
    path = metadata_path(weights)
    metadata = json.loads(path.read_text())
    metadata["model"]["location_target"] = "centre"
    path.write_text(json.dumps(metadata))
    with pytest.raises(CheckpointError, match=r"model\.json does not describe a network: .*'centre'"):
        load_checkpoint(weights)
    config = replace(TINY, location_target="center")
    save_checkpoint(weights, Checkpoint(config, CATEGORIES, {}, PanopticSegFormer(config, THINGS, STUFF)))
    metadata = json.loads(path.read_text())
    metadata["format"], metadata["model"]["location_target"] = "panoptic-segformer/1", "centre"
    path.write_text(json.dumps(metadata))
    assert load_checkpoint(weights).config.location_target == "center"


def test_truncated_weights_are_rejected(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read as safetensors"):
        load_checkpoint(weights)


def test_missing_metadata_is_named(weights: Path) -> None:
    metadata_path(weights).unlink()
    with pytest.raises(ValueError, match=r"model\.json"):
        load_checkpoint(weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "has format 'other'; this version reads panoptic-segformer/2, panoptic-segformer/1"),
        ({"model": {"size": 3}}, "does not describe a network"),
        ({"model": {"channels": 64}}, "does not fit the network"),
        ({"categories": []}, "category list is empty"),
    ],
)
def test_metadata_of_something_else_is_rejected(weights: Path, change: dict[str, object], message: str) -> None:
    path = metadata_path(weights)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        load_checkpoint(weights)
