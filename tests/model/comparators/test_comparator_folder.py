"""Folders in transformers' layout: whatever is damaged in one ends in one clear line, and no code in it runs."""

import json
import os
import pickle
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.comparators.folder import files_of, is_comparator, load_folder, names_of
from tests.model.comparators.made_folders import LENIENT, NAMES, change_json, write_folder

WEIGHTS, BIN = "model.safetensors", "pytorch_model.bin"
CLASS_BIAS = "class_predictor.bias"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("folders") / "eomt", "eomt")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "eomt"))


def as_pickle(folder: Path) -> Path:
    torch.save(load_file(folder / WEIGHTS), folder / BIN)
    (folder / WEIGHTS).unlink()
    return folder / BIN


def changed_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    state = load_file(folder / WEIGHTS)
    change(state)
    save_file(state, folder / WEIGHTS, {"format": "pt"})


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_folder_has_its_classes_thresholds_and_sizes(folder: Path) -> None:
    loaded = load_folder(folder)
    assert loaded.class_names == NAMES
    assert loaded.thresholds == LENIENT
    assert not loaded.network.training
    own, ours = loaded.settings("own"), loaded.settings("mask")
    assert (own.shorter, own.longer, own.merging.score_threshold) == (64, 64, 0.0)
    assert (ours.merging.method, ours.merging.score_threshold) == ("mask", 0.25)
    before = loaded.digest
    change_json(folder / "preprocessor_config.json", {"threshold": 0.7})
    assert load_folder(folder).digest != before


def test_thresholds_are_the_image_processors_where_its_file_has_none(folder: Path) -> None:
    change_json(folder / "preprocessor_config.json", dict.fromkeys(LENIENT))
    assert load_folder(folder).thresholds == {
        "threshold": 0.8,
        "mask_threshold": 0.5,
        "overlap_mask_area_threshold": 0.8,
    }


@pytest.mark.parametrize("form", ["pickle", "shards"])
def test_weights_in_a_pickle_or_in_shards_are_the_same(made: Path, folder: Path, tmp_path: Path, form: str) -> None:
    expected = load_folder(made).network.state_dict()
    if form == "pickle":
        as_pickle(folder)
    else:
        folder = write_folder(tmp_path / "shards", "eomt", shard="20KB")
        assert len(files_of(folder)) > 4
    found = load_folder(folder).network.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_code_in_a_pickle_does_not_run(folder: Path, tmp_path: Path) -> None:
    as_pickle(folder).write_bytes(pickle.dumps({CLASS_BIAS: Malicious(tmp_path / "made")}, protocol=2))
    refused(folder, "its pickle is damaged or holds more than tensors")
    state = {name: torch.zeros(1) for name in NAMES} | {"evil": Malicious(tmp_path / "made")}
    torch.save(state, folder / BIN)
    refused(folder, "its pickle is damaged or holds more than tensors")
    assert not (tmp_path / "made").exists()


def refused(folder: Path, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        load_folder(folder)
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.json", "has no config.json"),
        ("preprocessor_config.json", "has no preprocessor_config.json"),
        (WEIGHTS, "has no weights, one of model.safetensors, model.safetensors.index.json, pytorch_model.bin"),
    ],
)
def test_a_missing_file_is_named(folder: Path, name: str, message: str) -> None:
    (folder / name).unlink()
    assert is_comparator(folder)
    refused(folder, message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "segformer"}, "model_type is 'segformer'; expected one of detr, eomt"),
        ({"model_type": None}, "'model_type' should be a text, found null"),
        ({"model_type": "oneformer"}, "needs a tokenizer"),
        ({"hidden_size": "many"}, "transformers cannot load it"),
        ({"id2label": {"0": "cat", "1": "dog"}}, "the weights do not fit the network of 2 classes"),
        ({"num_queries": 9}, "query.weight has shape (8, 16), expected (9, 16)"),
    ],
)
def test_another_network_is_refused(folder: Path, changes: dict[str, object], message: str) -> None:
    change_json(folder / "config.json", changes)
    refused(folder, message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_processor_type": "NoneSuch"}, "transformers cannot load it"),
        ({"do_split_image": True}, "do_split_image is for semantic segmentation"),
        ({"threshold": "high"}, "'threshold' should be a finite number"),
        ({"mask_threshold": 1.5}, "mask_threshold is 1.5, expected 0..1"),
        ({"image_processor_type": "SegformerImageProcessor"}, "makes no panoptic maps"),
        ({"size": None}, "transformers cannot load it"),
        ({"size": {"height": 64, "width": 64}}, "transformers cannot load it"),
        ({"image_mean": [0.5]}, "mean must have 3 elements"),
        ({"rescale_factor": "1/255"}, "transformers cannot load it"),
    ],
)
def test_another_image_processor_is_refused(folder: Path, changes: dict[str, object], message: str) -> None:
    change_json(folder / "preprocessor_config.json", changes)
    refused(folder, message)


def test_damaged_weights_are_refused(folder: Path) -> None:
    changed_weights(folder, lambda state: state[CLASS_BIAS].fill_(float("nan")))
    refused(folder, f"1 entries differ: {CLASS_BIAS} has NaN or infinite numbers")
    changed_weights(folder, lambda state: state.pop(CLASS_BIAS))
    refused(folder, f"{CLASS_BIAS} is missing")
    changed_weights(folder, lambda state: state.update({CLASS_BIAS: torch.zeros(6), "head.bias": torch.zeros(6)}))
    refused(folder, "1 entries differ: head.bias is unknown")
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])
    refused(folder, "transformers cannot load it")
    for name in ("config.json", "preprocessor_config.json"):
        (folder / name).write_text("{")
        refused(folder, "not valid JSON")


def test_shards_that_are_elsewhere_are_refused(folder: Path, tmp_path: Path) -> None:
    (folder / WEIGHTS).rename(tmp_path / WEIGHTS)
    for shard in ("model-00001-of-00002.safetensors", f"../{WEIGHTS}"):
        index = {"metadata": {}, "weight_map": {CLASS_BIAS: shard}}
        (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
        refused(folder, f"lists {shard}, not in its folder")


def test_a_backbone_that_is_elsewhere_is_not_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "detr", "detr")
    change_json(
        folder / "config.json", {"backbone_config": None, "backbone": "microsoft/resnet-50", "use_timm_backbone": False}
    )
    calls: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda *address: calls.append(address))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *address, **_: calls.append(address))
    refused(folder, "a part of it is elsewhere on the hub); config.json has to describe the backbone itself")
    assert not calls


def test_our_own_folders_are_none(folder: Path) -> None:
    (folder / "model.json").touch()
    assert not is_comparator(folder)


def test_the_files_to_fetch_are_those_of_one_set_of_weights() -> None:
    small = ["config.json", "preprocessor_config.json"]
    listed = [*small, "README.md", WEIGHTS, BIN, "tf_model.h5", "modeling_evil.py"]
    assert names_of(listed) == [*small, WEIGHTS]
    shards = [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)]
    assert names_of([*small, *shards, f"{BIN}.index.json", "x.bin"]) == [*small, f"{BIN}.index.json", *shards]
    assert names_of(["config.json"]) == ["config.json"]
