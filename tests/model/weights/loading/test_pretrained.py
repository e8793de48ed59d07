"""ImageNet weights in every layout of file, and every way in which they can be missing or wrong."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    PreTrainedModel,
    PvtV2Config,
    PvtV2ForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    SwinConfig,
    SwinForImageClassification,
)

from model.network.backbone import Backbone
from model.weights.loading.files import WeightsError
from model.weights.loading.layout import backbone_layout
from model.weights.loading.pretrained import load_backbone
from tests.model.network.narrow_backbones import NARROW, narrow_backbone, use_narrow_backbones

State = dict[str, Tensor]
SWIN_NORM, SWIN_OUTPUTS = "swin.layernorm.", "hidden_states_norms."


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use narrow sizes."""
    use_narrow_backbones(monkeypatch)


def body(backbone: Backbone) -> State:
    """Entries that a classifier of the same size shares with a backbone."""
    state = backbone.body.state_dict()
    return {key: tensor.contiguous() for key, tensor in state.items() if not key.startswith(SWIN_OUTPUTS)}


def assert_loaded(target: Backbone, source: Backbone) -> None:
    """Compare all entries except Swin's output norms and batch norm's counters."""
    state = body(target)
    for key, tensor in body(source).items():
        assert torch.equal(state[key], tensor), key


def as_backbone(name: str, state: State) -> State:
    """Our own layout."""
    return state


def as_published(name: str, state: State) -> State:
    """The authors' classifiers."""
    official = backbone_layout(NARROW[name], state).to_official(state)
    if name.startswith("swin"):
        shifted = {f"layers.{stage}.blocks.1.attn_mask": torch.zeros(4, 49, 49) for stage in range(3)}
        official |= {"norm.weight": torch.ones(32), "norm.bias": torch.zeros(32), **shifted}
    if name.startswith(("resnet", "tiny")):
        official = {key: tensor for key, tensor in official.items() if not key.endswith("num_batches_tracked")}
        return official | {"fc.weight": torch.ones(10, 40), "fc.bias": torch.ones(10)}
    if name.startswith("efficientnet"):
        official = {key: tensor for key, tensor in official.items() if not key.endswith("num_batches_tracked")}
        return official | {"_conv_head.weight": torch.ones(10, 32, 1, 1), "_bn1.bias": torch.ones(10)}
    return official | {"head.weight": torch.ones(10, 32), "head.bias": torch.ones(10)}


def plain(path: Path, state: State) -> None:
    """A pickled state dict."""
    torch.save(state, path)


def under_model(path: Path, state: State) -> None:
    """Write as Swin's authors do."""
    torch.save({"model": state, "epoch": 3}, path)


def under_state_dict(path: Path, state: State) -> None:
    """Write as distributed training does."""
    torch.save({"state_dict": {f"module.{key}": tensor for key, tensor in state.items()}, "epoch": 3}, path)


def safetensors(path: Path, state: State) -> None:
    """Write as the hub's files are."""
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, path)


@pytest.mark.parametrize("write", [plain, under_model, under_state_dict, safetensors])
@pytest.mark.parametrize("layout", [as_backbone, as_published])
@pytest.mark.parametrize("name", NARROW)
def test_round_trip(
    name: str, layout: Callable[[str, State], State], write: Callable[[Path, State], None], tmp_path: Path
) -> None:
    source, target = narrow_backbone(name), narrow_backbone(name, seed=1)
    before = {key: tensor.clone() for key, tensor in target.body.state_dict().items()}
    state = body(source)
    write(tmp_path / "weights.bin", layout(name, state))
    loaded = load_backbone(target, tmp_path / "weights.bin")
    assert_loaded(target, source)
    lacking = {key for key in before if key not in state}
    if layout is as_published:
        lacking |= {key for key in before if key.endswith("num_batches_tracked")}
    assert set(loaded.kept) == lacking
    assert all(torch.equal(target.body.state_dict()[key], before[key]) for key in lacking)
    assert {key.split(".")[-1] for key in loaded.dropped} <= {"weight", "bias", "attn_mask"}


CLASSIFIERS: Mapping[str, Callable[[], PreTrainedModel]] = {
    "resnet50": lambda: ResNetForImageClassification(
        ResNetConfig(embedding_size=8, hidden_sizes=[16, 24, 32, 40], depths=[1, 2, 1, 1])
    ),
    "pvt_v2_b0": lambda: PvtV2ForImageClassification(
        PvtV2Config(hidden_sizes=[4, 8, 10, 16], depths=[1, 2, 1, 2], mlp_ratios=[2, 2, 1, 1])
    ),
    "swin_tiny": lambda: SwinForImageClassification(
        SwinConfig(embed_dim=4, depths=[2, 2, 2, 2], num_heads=[1, 2, 2, 4])
    ),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_files_of_transformers(name: str, tmp_path: Path) -> None:
    """`save_pretrained` writes the names of the files on the hub, which for Swin are not those of its modules."""
    classifier = CLASSIFIERS[name]()
    classifier.save_pretrained(tmp_path)
    backbone = narrow_backbone(name)
    loaded = load_backbone(backbone, tmp_path / "model.safetensors")
    assert all(key.startswith(("classifier.", SWIN_NORM)) for key in loaded.dropped)
    assert all(key.startswith(SWIN_OUTPUTS) for key in loaded.kept)
    source = {
        key.removeprefix("resnet.").removeprefix("pvt_v2."): value for key, value in classifier.state_dict().items()
    }
    for key, tensor in body(backbone).items():
        assert torch.equal(tensor, source[key]), key


def test_old_files_hold_the_index_of_positions(tmp_path: Path) -> None:
    source, target = narrow_backbone("swin_tiny"), narrow_backbone("swin_tiny", seed=1)
    prefix = "encoder.layers.0.blocks.0.attention.self.relative_position_"
    index = {f"{prefix}index": torch.zeros(49, 49).long()}
    state = {key.removeprefix("swin."): tensor for key, tensor in body(source).items()}
    table = state.pop("encoder.layers.0.blocks.0.attention.relative_position_bias.relative_position_bias_table")
    save_file(state | index | {f"{prefix}bias_table": table}, tmp_path / "swin.safetensors")
    load_backbone(target, tmp_path / "swin.safetensors")
    assert_loaded(target, source)


def change(**entries: Tensor | None) -> Callable[[State], State]:
    """Replace entries (with `__` for a dot), or leave them out."""
    named = {key.replace("__", "."): tensor for key, tensor in entries.items()}

    def changed(state: State) -> State:
        whole = state | {key: tensor for key, tensor in named.items() if tensor is not None}
        return {key: tensor for key, tensor in whole.items() if named.get(key, tensor) is not None}

    return changed


@pytest.mark.parametrize(
    ("issue", "message"),
    [
        (change(conv1__weight=None), r"conv1.weight: missing"),
        (change(bn1__running_mean=None), r"bn1.running_mean: missing"),
        (change(conv9__weight=torch.ones(1)), r"conv9.weight: unknown"),
        (change(bn1__bias=torch.ones(3)), r"bn1.bias: has shape \(3,\), expected \(8,\)"),
    ],
)
def test_misfits_are_named(issue: Callable[[State], State], message: str, tmp_path: Path) -> None:
    backbone = narrow_backbone("resnet50")
    before = {key: tensor.clone() for key, tensor in body(backbone).items()}
    torch.save(issue(as_published("resnet50", body(narrow_backbone("resnet50", seed=1)))), tmp_path / "r50.pth")
    with pytest.raises(
        WeightsError, match=rf"r50.pth is not for the backbone resnet50; \d+ entries do not fit:\n[\s\S]*{message}"
    ):
        load_backbone(backbone, tmp_path / "r50.pth")
    assert all(torch.equal(tensor, before[key]) for key, tensor in body(backbone).items())


@pytest.mark.parametrize("layout", [as_backbone, as_published])
@pytest.mark.parametrize("other", ["resnet101", "pvt_v2_b0", "swin_tiny"])
def test_weights_of_another_backbone(other: str, layout: Callable[[str, State], State], tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(layout(other, body(narrow_backbone(other))), file)
    with pytest.raises(WeightsError, match=rf"not for the backbone resnet50, but for {other} \(correct"):
        load_backbone(narrow_backbone("resnet50"), file)


def test_no_weights_for_group_norm(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"model.backbone_norm is 'group'; set it to 'frozen' or 'batch', or"):
        load_backbone(narrow_backbone("tiny", backbone_norm="group"), tmp_path)
