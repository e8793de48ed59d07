"""The published key layouts: complete, reversible, and refused by name where they do not fit."""

import json
from collections.abc import Mapping
from functools import cache

import pytest
import torch
from torch import Tensor

from benchmarks.official_parity.forward import CheckpointEntry, read_entries
from model.network.backbones import BACKBONES
from model.network.backbones.swin import relative_position_index
from model.network.panoptic_segformer import PanopticSegFormer
from model.weights.loading.layout import OfficialLayoutError, backbone_layout, listed
from model.weights.official.classes import ClassCounts, coco_categories
from model.weights.official.models import CONFIGS, expected_entries, identify, require_model
from model.weights.official.names import UNUSED, from_official, network_layout, to_official, without_unused
from model.weights.official.pth import PthFile
from model.weights.official.sidecar import Sidecar
from tests.model.conftest import OFFICIAL

FILES = {"r50": "r50", "r101": "r101", "pvtv2_b5": "pvtb5", "swin_l": "swinl"}
COCO = ClassCounts(80, 53)
ROWS = 8192  # more than any entry has


@cache
def expected(model: str) -> Mapping[str, Tensor]:
    return expected_entries(CONFIGS[model], COCO)


def entries(model: str) -> tuple[CheckpointEntry, ...]:
    return read_entries(OFFICIAL / f"keys_{FILES[model]}.json")


def numbered_state(model: str) -> dict[str, Tensor]:
    """A checkpoint in which every row of every entry has a number of its own, in the memory of one column."""
    return {entry.name: numbered(entry, number) for number, entry in enumerate(entries(model))}


def numbered(entry: CheckpointEntry, number: int) -> Tensor:
    if entry.name.endswith("relative_position_index"):
        return relative_position_index(7)
    if not entry.shape:
        return torch.tensor(number)
    rows = torch.arange(entry.shape[0], dtype=torch.float32) + number * ROWS
    return rows.view(-1, *[1] * (len(entry.shape) - 1)).expand(entry.shape)


@pytest.mark.parametrize("model", CONFIGS)
def test_round_trip_gives_all_entries_in_their_order(model: str) -> None:
    state = numbered_state(model)
    ours = from_official(CONFIGS[model].backbone, state, expected(model))
    assert list(ours) == list(expected(model))
    assert all(ours[key].shape == tensor.shape for key, tensor in expected(model).items())
    unused = {name: tensor for name, tensor in state.items() if name.startswith(tuple(UNUSED))}
    back = Sidecar.of(PthFile(state, "", "", {}, (), ""), unused).complete(to_official(CONFIGS[model].backbone, ours))
    assert list(back) == list(state)
    for name, tensor in state.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor), name


@pytest.mark.parametrize("model", CONFIGS)
def test_every_entry_of_ours_is_in_one_published_entry(model: str) -> None:
    layout = network_layout(CONFIGS[model].backbone, expected(model))
    assert sorted(key for keys in layout.sources.values() for key in keys) == sorted(expected(model))


@pytest.mark.parametrize(
    ("model", "parameters"),
    [("r50", 51_271_900), ("r101", 70_264_028), ("pvtv2_b5", 104_996_188), ("swin_l", 221_352_624)],
)
def test_parameter_counts(model: str, parameters: int) -> None:
    """Ours are the published ones without the parts that nothing uses."""
    recorded = json.loads((OFFICIAL / f"keys_{FILES[model]}.json").read_text())
    sizes = {entry.name: torch.Size(entry.shape).numel() for entry in entries(model)}
    unused = [sum(size for name, size in sizes.items() if name.startswith(part)) for part in UNUSED]
    assert unused == [530_448, 82_240]
    with torch.device("meta"):
        own = list(PanopticSegFormer(CONFIGS[model], 80, 53).parameters())
    assert sum(parameter.numel() for parameter in own) + sum(unused) == parameters == recorded["params_all"]
    trained = sum(parameter.numel() for parameter in own if parameter.requires_grad)
    assert trained + sum(unused) == recorded["params_requires_grad"]


def test_joined_entries_are_joined_in_their_order_whatever_that_of_ours() -> None:
    """A safetensors file gives back names sorted: key before query before value, and k before q before v."""
    state = numbered_state("swin_l")
    ours = from_official("swin_large", state, expected("swin_l"))
    again = to_official("swin_large", dict(sorted(ours.items())))
    assert all(torch.equal(again[name], tensor) for name, tensor in without_unused(state).items())


def test_a_backbone_alone_has_no_prefix() -> None:
    state = {
        name.removeprefix("backbone."): tensor
        for name, tensor in numbered_state("pvtv2_b5").items()
        if name.startswith("backbone.")
    }
    body = {
        key.removeprefix("backbone.body."): tensor
        for key, tensor in expected("pvtv2_b5").items()
        if key.startswith("backbone.body.")
    }
    layout = backbone_layout(BACKBONES["pvt_v2_b5"], body)
    ours = layout.from_official(state, body)
    assert all(torch.equal(tensor, state[name]) for name, tensor in layout.to_official(ours).items())
    del state["block3.7.attn.kv.weight"]
    with pytest.raises(OfficialLayoutError, match=r"block3\.7\.attn\.kv\.weight: missing"):
        layout.from_official(state, body)


def test_every_misfit_is_named() -> None:
    broken = numbered_state("r50")
    del broken["neck.convs.0.gn.weight"]
    broken["bbox_head.surprise.weight"] = torch.zeros(1)
    broken["bbox_head.cls_branches.0.bias"] = torch.zeros(150)
    broken["neck.convs.1.gn.weight"] = torch.zeros(256, dtype=torch.float64)
    broken["neck.convs.2.gn.weight"] = torch.zeros(256, dtype=torch.int64)
    with pytest.raises(OfficialLayoutError) as error:
        from_official("resnet50", broken, expected("r50"))
    assert str(error.value).splitlines() == [
        "does not fit the network (5 in all):",
        "  - neck.convs.0.gn.weight: missing",
        "  - neck.convs.1.gn.weight: has type float64, expected float32",
        "  - neck.convs.2.gn.weight: has type int64, expected float32",
        "  - bbox_head.cls_branches.0.bias: has shape (150,), expected (80,)",
        "  - bbox_head.surprise.weight: unknown",
    ]


def test_half_precision_fits_and_comes_back() -> None:
    state = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in numbered_state("r50").items()
    }
    ours = from_official("resnet50", state, expected("r50"))
    single = {key: tensor.to(expected("r50")[key].dtype) for key, tensor in ours.items()}
    back = Sidecar.of(PthFile(without_unused(state), "", "", {}, (), ""), {}).complete(to_official("resnet50", single))
    assert back["neck.convs.0.gn.weight"].dtype == torch.float16
    assert all(torch.equal(tensor, state[name]) for name, tensor in back.items())


def test_another_window_of_swin_is_refused() -> None:
    state = numbered_state("swin_l")
    state["backbone.layers.2.blocks.3.attn.relative_position_index"] = relative_position_index(7).T.contiguous()
    with pytest.raises(
        OfficialLayoutError, match=r"layers\.2\.blocks\.3\.attn\.relative_position_index: does not follow"
    ):
        from_official("swin_large", state, expected("swin_l"))


def test_relative_positions_of_a_small_window() -> None:
    assert relative_position_index(2).tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]


@pytest.mark.parametrize(("model", "given"), [("r50", "r101"), ("r101", "swin_l"), ("pvtv2_b5", "r50")])
def test_a_wrong_model_is_told_from_the_entries(model: str, given: str) -> None:
    require_model(numbered_state(model), model, "file")
    with pytest.raises(OfficialLayoutError) as error:
        require_model(numbered_state(model), given, "file")
    assert str(error.value) == f"file: is a checkpoint of {model}, not of {given}; use --model {model}"


@pytest.mark.parametrize("model", CONFIGS)
def test_the_model_is_identified_by_its_entries(model: str) -> None:
    """Also with names that the code had earlier, and with an entry less."""
    assert identify(numbered_state(model)) == model
    older = {
        name.replace("bbox_head.things_mask_head.", "bbox_head.mask_head."): tensor
        for name, tensor in numbered_state(model).items()
    }
    del older["neck.convs.0.gn.weight"]
    assert identify(older) == model


def test_a_state_that_fits_no_model_is_compared_with_the_closest() -> None:
    state = numbered_state("r101")
    del state["neck.convs.0.gn.weight"]
    with pytest.raises(OfficialLayoutError) as error:
        require_model(state, "r50", "file")
    first, *others = str(error.value).splitlines()
    assert first.endswith("Closest is r101; what does not fit it (1 in all):")
    assert others == ["  - neck.convs.0.gn.weight: missing"]
    with pytest.raises(OfficialLayoutError) as error:
        require_model({"fc.weight": torch.zeros(2)}, "r50", "file")
    assert len(str(error.value).splitlines()) <= 20


def test_names_that_differ_by_numbers_share_a_line() -> None:
    names = [f"layers.{layer}.norms.{norm}.bias" for layer in range(6) for norm in (0, 2)]
    assert listed(dict.fromkeys([*names, "a.weight"], "missing")) == [
        "  - layers.{0..5}.norms.{0,2}.bias (12 entries): missing",
        "  - a.weight: missing",
    ]
    assert len(listed({f"{'x' * number}": "unknown" for number in range(1, 40)})) == 17


def test_a_network_of_its_own_has_no_published_layout() -> None:
    with pytest.raises(ValueError, match="no counterpart of this network's token_classes"):
        to_official("resnet50", {"token_classes.weight": torch.zeros(1)})


def test_the_bundled_categories_are_those_of_the_published_labels() -> None:
    recorded = json.loads((OFFICIAL / "category_ids.json").read_text())
    assert [[category.id, int(category.is_thing), category.name] for category in coco_categories()] == recorded
