"""Initial weights that a training accepts and refuses."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from model.network.panoptic_segformer import PanopticSegFormer
from model.weights.checkpoint import Checkpoint, save_checkpoint
from model.weights.description import CheckpointError
from model.weights.loading.files import WeightsError
from model.weights.loading.initial import find_initial_weights, load_initial_weights
from panoptic.format.categories import Category, CategoryTable
from tests.model.network.tiny_network import STUFF, THINGS, TINY, tiny_network

CATEGORIES = CategoryTable(
    tuple(Category(number, f"thing {number}", True, (0, 0, 0)) for number in range(THINGS)),
    tuple(Category(number, f"stuff {number}", False, (0, 0, 0)) for number in range(THINGS, THINGS + STUFF)),
)


def saved(path: Path) -> Path:
    """A trained network as the train stage writes it."""
    save_checkpoint(path, Checkpoint(TINY, CATEGORIES, {}, tiny_network()))
    return path


def new_network() -> PanopticSegFormer:
    """With other weights than `saved`."""
    torch.manual_seed(1)
    return PanopticSegFormer(TINY, THINGS, STUFF)


def test_random_weights_need_no_file(tmp_path: Path) -> None:
    assert find_initial_weights("random", "resnet50", tmp_path) is None


def test_a_local_file_is_found_without_the_hub(tmp_path: Path) -> None:
    (tmp_path / "resnet50.pth").touch()
    assert find_initial_weights("imagenet", "resnet50", tmp_path) == tmp_path / "resnet50.pth"
    mine = tmp_path / "mine.pth"
    mine.touch()
    assert find_initial_weights(str(mine), "resnet50", tmp_path) == mine


def test_a_whole_network_is_taken_over(tmp_path: Path) -> None:
    file, network = saved(tmp_path / "model.safetensors"), new_network()
    assert load_initial_weights(network, CATEGORIES, file) == f"the whole network from {file}"
    expected = tiny_network().state_dict()
    learnt = {name: tensor for name, tensor in network.state_dict().items() if tensor.dim() > 1}
    assert all(torch.equal(tensor, expected[name]) for name, tensor in learnt.items())


def test_a_backbone_leaves_the_head_as_it_is(tmp_path: Path) -> None:
    file, network = tmp_path / "tiny.safetensors", new_network()
    save_file(tiny_network().backbone.body.state_dict(), file)
    head = {name: tensor.clone() for name, tensor in network.state_dict().items() if not name.startswith("backbone.")}
    assert "tiny from" in load_initial_weights(network, CATEGORIES, file)
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in head.items())
    first = "backbone.body.embedder.embedder.convolution.weight"
    assert torch.equal(network.state_dict()[first], tiny_network().state_dict()[first])


def test_a_backbone_beside_other_things_says_what_was_taken(tmp_path: Path) -> None:
    body = tiny_network().backbone.body.state_dict()
    averaged = {name: tensor + 1 for name, tensor in body.items()}
    torch.save({"model": body, "model_ema": averaged, "optimizer": {}, "epoch": 3}, tmp_path / "tiny.pth")
    first = "backbone.body.embedder.embedder.convolution.weight"
    for average, state in ((False, body), (True, averaged)):
        network = new_network()
        described = load_initial_weights(network, CATEGORIES, tmp_path / "tiny.pth", average)
        assert torch.equal(network.state_dict()[first], state[first.removeprefix("backbone.body.")])
        taken = "the moving average (EMA) in 'model_ema'" if average else "the weights in 'model'"
        assert f"; taken: {taken}, not " in described
        assert described.endswith("; not used: optimizer, epoch")


def test_a_network_of_another_shape_is_refused(tmp_path: Path) -> None:
    file = saved(tmp_path / "model.safetensors")
    other = PanopticSegFormer(replace(TINY, queries=9, dropout=0.5), THINGS, STUFF)
    with pytest.raises(CheckpointError, match="queries 9 instead of 7"):
        load_initial_weights(other, CATEGORIES, file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.pth', and there is no such file; give a file, 'imagenet'"):
        find_initial_weights(str(tmp_path / "gone.pth"), "resnet50", tmp_path)
