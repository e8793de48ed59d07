"""Weight files: a round trip, files of earlier versions, and every way in which they can be wrong."""

import hashlib
import json
import math
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from model.inference.merging import MergingSettings
from model.inference.settings import InferenceSettings
from model.network.panoptic_segformer import PanopticSegFormer
from model.weights.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from model.weights.description import CheckpointError, load_description, metadata_path, save_description
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


def rewrite(path: Path, metadata: dict[str, object]) -> None:
    """Write a JSON file beside weights as an earlier version did, without digests."""
    path.write_text(json.dumps({name: value for name, value in metadata.items() if not name.endswith("sha256")}))


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


def test_the_digest_in_the_header_is_that_of_the_tensors(weights: Path) -> None:
    content = weights.read_bytes()
    state = NETWORK.state_dict()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]["panoptic"]
    usage = {name: value for name, value in json.loads(header).items() if name != "tensors_sha256"}
    plain = save(state)
    tensors = hashlib.sha256(plain[8 + int.from_bytes(plain[:8], "little") :]).hexdigest()
    assert content == save(state, {"panoptic": json.dumps(usage | {"tensors_sha256": tensors})})


def test_weights_of_an_earlier_version_are_read(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = metadata_path(weights)
    metadata = json.loads(path.read_text())
    metadata["format"] = "panoptic-segformer/1"
    metadata["model"]["query_initialisation"] = metadata["model"].pop("query_initialization")
    rewrite(path, metadata)
    loaded = load_checkpoint(weights)
    assert capsys.readouterr().err.count("model.safetensors has no digest, as an earlier version wrote it") == 1
    assert loaded.config == TINY
    assert loaded.digest == ""
    for name, value in NETWORK.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], value), name


def test_values_of_an_earlier_version_are_read_and_wrong_ones_name_the_file(weights: Path) -> None:
    path = metadata_path(weights)
    metadata = json.loads(path.read_text())
    metadata["model"]["location_target"] = "centre"
    rewrite(path, metadata)
    with pytest.raises(CheckpointError, match=r"model\.json does not describe a network: .*'centre'"):
        load_checkpoint(weights)
    config = replace(TINY, location_target="center")
    save_checkpoint(weights, Checkpoint(config, CATEGORIES, {}, PanopticSegFormer(config, THINGS, STUFF)))
    metadata = json.loads(path.read_text())
    metadata["format"], metadata["model"]["location_target"] = "panoptic-segformer/1", "centre"
    rewrite(path, metadata)
    assert load_checkpoint(weights).config.location_target == "center"


def test_a_folder_is_no_weights(weights: Path) -> None:
    with pytest.raises(CheckpointError, match=r": is a folder; give the safetensors file that stages.train wrote"):
        load_checkpoint(weights.parent)


def test_truncated_weights_are_rejected(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read as safetensors"):
        load_checkpoint(weights)


def test_the_digest_is_that_of_the_weight_file(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load_checkpoint(weights)
    assert loaded.digest == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert capsys.readouterr() == ("", "")


def test_any_flipped_bit_of_the_description_is_found(weights: Path) -> None:
    path = metadata_path(weights)
    content = path.read_bytes()
    assert len(content) > 1000
    for position in range(len(content)):
        for bit in (position % 8, 5):  # 5 turns 1e-05 into 1E-05, which is the same number
            path.write_bytes(flipped(content, position, bit))
            with pytest.raises(ValueError, match=r"model\.json"):
                load_description(weights)
    path.write_bytes(content + b" ")
    with pytest.raises(CheckpointError, match=r"model\.json is damaged: .* remove its last line"):
        load_description(weights)


def test_flipped_bits_of_the_weights_are_found_with_both_digests(weights: Path) -> None:
    content = weights.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    for position in random.Random(0).sample(range(len(content)), 20):
        weights.write_bytes(flipped(content, position, position % 8))
        with pytest.raises(CheckpointError, match=r"model\.safetensors") as caught:
            load_checkpoint(weights)
        if position > len(content) // 2:  # among the tensors, not in the header
            assert f"expected {digest}; copy both files again" in str(caught.value)


def flipped(content: bytes, position: int, bit: int) -> bytes:
    changed = bytearray(content)
    changed[position] ^= 1 << bit
    return bytes(changed)


@pytest.mark.parametrize("with_digest", [True, False])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensor: tensor.half(), "has type float16, expected float32"),
        (lambda tensor: tensor.to(torch.int8), "has type int8, expected float32"),
        (lambda tensor: tensor.double(), "has type float64, expected float32"),
        (lambda tensor: tensor * math.nan, "has NaN or infinite numbers"),
        (lambda tensor: tensor.index_fill(0, torch.tensor([0]), math.inf), "has NaN or infinite numbers"),
        (lambda tensor: tensor[None].contiguous(), "has shape"),
    ],
)
def test_weights_of_another_type_or_not_finite_are_refused(
    weights: Path, change: Callable[[Tensor], Tensor], message: str, with_digest: bool
) -> None:
    state = load_file(weights)
    name = next(name for name, tensor in state.items() if tensor.dtype == torch.float32 and tensor.dim() > 0)
    content = save(state | {name: change(state[name])})
    weights.write_bytes(content)
    if with_digest:
        save_description(weights, load_description(weights), hashlib.sha256(content).hexdigest())
    else:
        rewrite(metadata_path(weights), json.loads(metadata_path(weights).read_text()))
    with pytest.raises(CheckpointError, match=f"does not fit .*1 entries differ: {re.escape(name)} {message}"):
        load_checkpoint(weights)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"channels": 10**9}, "model.channels is 1000000000; give at least 1 and at most 8192"),
        ({"queries": 10**20}, "model.queries is 100000000000000000000; give"),
        ({"feedforward": "1024"}, "model.feedforward is '1024'; give a whole number"),
        ({"heads": True}, "model.heads is True; give a whole number"),
        ({"dropout": "nan"}, "model.dropout is 'nan'; give a number"),
        ({"stuff": ["joint"]}, r"model.stuff is \['joint'\]; give a text"),
        ({"backbone": 3}, "model.backbone is 3; give a text"),
        ({"channels": 8192, "feedforward": 65536, "encoder_layers": 100}, "entries differ"),  # half a terabyte
    ],
)
def test_hostile_sizes_are_refused_before_memory_is_taken(
    weights: Path, model: dict[str, object], message: str
) -> None:
    metadata = json.loads(metadata_path(weights).read_text())
    metadata["model"] |= model
    rewrite(metadata_path(weights), metadata)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(weights)


def test_weights_work_without_the_json_file(weights: Path) -> None:
    settings = InferenceSettings(96, 128, mask_layer=1, merging=MergingSettings("pixel", score_threshold=0.4))
    save_checkpoint(weights, Checkpoint(TINY, CATEGORIES, {"steps": "3"}, NETWORK, inference=settings))
    assert load_checkpoint(weights).inference == settings
    metadata_path(weights).unlink()
    alone = load_checkpoint(weights)
    assert (alone.config, alone.categories, alone.inference) == (TINY, CATEGORIES, settings)
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged: its SHA-256 is"):
        load_checkpoint(weights)


def test_missing_metadata_of_an_earlier_version_is_named(weights: Path) -> None:
    save_file(load_file(weights), weights)
    metadata_path(weights).unlink()
    with pytest.raises(ValueError, match=r"model\.json"):
        load_checkpoint(weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": {"shorter": 96, "longer": 64}}, "wrong settings of inference"),
        ({"input": {"mean": [0, 0, 0]}}, "this version knows only"),
        ({"merging": {"method": "other"}}, "wrong settings of inference"),
        ({"merging": {"color": 3}}, "wrong settings of inference"),
    ],
)
def test_wrong_settings_of_inference_are_refused(
    weights: Path, change: dict[str, dict[str, object]], message: str
) -> None:
    save_checkpoint(weights, Checkpoint(TINY, CATEGORIES, {}, NETWORK, inference=InferenceSettings()))
    metadata = json.loads(metadata_path(weights).read_text())
    for name, values in change.items():
        metadata[name] |= values
    rewrite(metadata_path(weights), metadata)
    with pytest.raises(CheckpointError, match=message):
        load_description(weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "has format 'other'; this version reads panoptic-segformer/3, "),
        ({"model": {"size": 3}}, "does not describe a network"),
        ({"model": {"channels": 64}}, "does not fit the network"),
        ({"categories": []}, "category list is empty"),
    ],
)
def test_metadata_of_something_else_is_rejected(weights: Path, change: dict[str, object], message: str) -> None:
    path = metadata_path(weights)
    rewrite(path, json.loads(path.read_text()) | change)
    with pytest.raises(ValueError, match=message):
        load_checkpoint(weights)
