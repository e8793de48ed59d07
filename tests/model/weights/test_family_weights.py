"""Weights of MaskFormer, Mask2Former and EoMT: other classes, other families, damage, and pages about them."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.network.families import build_network
from model.network.segmenter import Segmenter
from model.weights.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from model.weights.description import CheckpointError
from model.weights.loading.files import WeightsError
from model.weights.loading.initial import load_initial_weights, require_backbone
from panoptic.format.categories import Category, CategoryTable
from panoptic_segformer.weights.bundle import open_bundle
from panoptic_segformer.weights.card import CardRequest, write_card
from panoptic_segformer.weights.listing import describe_weights
from stages.train import load_recipe
from tests.model.network.tiny_network import TINY
from tests.stages.training_runs import PARAMS

PAPERS = {"maskformer": "MaskFormer", "mask2former": "Mask2Former", "eomt": "EoMT"}


def table(things: dict[int, str], stuff: dict[int, str]) -> CategoryTable:
    made = [
        tuple(Category(id_, name, is_thing, (id_, 0, 0)) for id_, name in names.items())
        for is_thing, names in ((True, things), (False, stuff))
    ]
    return CategoryTable(*made)


OLD = table({1: "cat", 2: "dog"}, {7: "sky"})


def network_of(family: str, categories: CategoryTable, seed: int = 0) -> Segmenter:
    torch.manual_seed(seed)
    return build_network(replace(TINY, family=family), len(categories.things), len(categories.stuff)).eval()


def saved(folder: Path, family: str) -> tuple[Path, Segmenter]:
    path, network = folder / "model.safetensors", network_of(family, OLD)
    save_checkpoint(path, Checkpoint(network.config, OLD, {}, network))
    return path, network


@pytest.mark.parametrize("family", PAPERS)
def test_rows_follow_their_classes_and_no_object_stays_last(family: str, tmp_path: Path) -> None:
    path, old = saved(tmp_path, family)
    wanted = table({1: "dog", 3: "bird"}, {7: "sky", 8: "sea"})
    new = network_of(family, wanted, seed=1)
    initial = {name: tensor.clone() for name, tensor in new.state_dict().items()}
    load_initial_weights(new, wanted, path)
    (name,) = (name for name in initial if name.endswith("class_predictor.weight"))
    before, after = old.state_dict()[name], new.state_dict()[name]
    expected = torch.stack((before[1], initial[name][1], before[2], initial[name][3], before[3]))
    assert torch.equal(after, expected)
    kept = {name for name in initial if "class_predictor" not in name and "empty_weight" not in name}
    assert all(torch.equal(new.state_dict()[name], old.state_dict()[name]) for name in kept)


@pytest.mark.parametrize("family", PAPERS)
def test_a_whole_network_without_its_description_is_not_taken_for_a_backbone(family: str, tmp_path: Path) -> None:
    path, _ = saved(tmp_path, family)
    path.with_suffix(".json").unlink()
    with pytest.raises(WeightsError, match="is a whole network without the JSON that names its classes"):
        load_initial_weights(network_of("panoptic_segformer", OLD), OLD, path)


@pytest.mark.parametrize("change", [{"family": "nonsense"}, {"family": 5}, {"backbone": "nonsense"}])
def test_a_damaged_description_is_named(change: dict[str, object], tmp_path: Path) -> None:
    path, _ = saved(tmp_path, "maskformer")
    described = path.with_suffix(".json")
    document = {name: value for name, value in json.loads(described.read_text()).items() if name != "sha256"}
    described.write_text(json.dumps(document | {"model": document["model"] | change}))
    with pytest.raises(CheckpointError, match=r"model\.json does not describe a network: model\."):
        load_checkpoint(path)


def test_eomt_refuses_the_weights_of_backbones() -> None:
    with pytest.raises(WeightsError, match="imagenet holds a backbone, and the family 'eomt' has none"):
        require_backbone(network_of("eomt", OLD), "imagenet")


@pytest.mark.parametrize("change", [{"family": "nonsense"}, {"backbone": "nonsense"}])
def test_an_unknown_network_is_refused_with_the_settings(change: dict[str, str], tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(json.dumps({**PARAMS, "model": {**PARAMS["model"], **change}}))
    with pytest.raises(ValueError, match="'nonsense'; expected one of"):
        load_recipe(params)


@pytest.mark.parametrize("family", PAPERS)
def test_pages_name_the_family(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").mkdir()
    path, _ = saved(tmp_path / "runs", family)
    card = write_card(open_bundle(path), CardRequest())
    assert f"[{PAPERS[family]}](https://arxiv.org" in card
    assert "[Panoptic SegFormer]" not in card
    assert ("with the backbone `tiny`" in card) is (family != "eomt")
    monkeypatch.chdir(tmp_path)
    (row,) = (line for line in describe_weights().splitlines() if f"runs{os.sep}model.safetensors" in line)
    backbone = "none" if family == "eomt" else "tiny"
    assert [cell.strip() for cell in row.split("|")][2:4] == [family, backbone]
    described = path.with_suffix(".json")  # damaged weights beside sound ones do not end the list
    document = {name: value for name, value in json.loads(described.read_text()).items() if name != "sha256"}
    described.write_text(json.dumps(document | {"model": document["model"] | {"family": "nonsense"}}))
    assert f"runs{os.sep}model.safetensors" not in describe_weights()
