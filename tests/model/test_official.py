"""The published key layout: complete, reversible, and refused by name where it does not fit."""

import json

import pytest
import torch
from torch import Tensor

from model.network.panoptic_segformer import PanopticSegFormer
from model.official import UNUSED, OfficialLayoutError, from_official, to_official
from tests.fixtures.official import rules
from tests.model.conftest import OFFICIAL


def test_fill_rule_matches_the_recorded_checksums(official_weights: dict[str, Tensor]) -> None:
    checksums = json.loads((OFFICIAL / "keys_r50.json").read_text())["fill_checksum"]
    for key, checksum in checksums.items():
        values = rules.fill(key, tuple(official_weights[key].shape))
        assert values.astype(float).sum() == pytest.approx(checksum, abs=1e-9), key


def test_round_trip_is_exact(official_network: PanopticSegFormer, official_weights: dict[str, Tensor]) -> None:
    ours = official_network.state_dict()
    back = to_official(ours)
    assert set(back) == {key for key in official_weights if not key.startswith(UNUSED)}
    assert all(torch.equal(tensor, official_weights[key]) for key, tensor in back.items())
    again = from_official(back, ours)
    assert set(again) == set(ours)
    assert all(torch.equal(again[key], ours[key]) for key in ours)


def test_parameter_counts(official_network: PanopticSegFormer, official_weights: dict[str, Tensor]) -> None:
    unused = sum(tensor.numel() for key, tensor in official_weights.items() if key.startswith(UNUSED))
    assert unused == 530_448 + 82_240
    parameters = list(official_network.parameters())
    assert sum(parameter.numel() for parameter in parameters) == 51_271_900 - unused
    assert sum(parameter.numel() for parameter in parameters if parameter.requires_grad) == 50_996_380 - unused


def test_every_misfit_is_named(official_network: PanopticSegFormer, official_weights: dict[str, Tensor]) -> None:
    broken = dict(official_weights)
    del broken["neck.convs.0.gn.weight"]
    broken["bbox_head.surprise.weight"] = torch.zeros(1)
    broken["bbox_head.cls_branches.0.bias"] = torch.zeros(150)
    with pytest.raises(OfficialLayoutError) as error:
        from_official(broken, official_network.state_dict())
    assert "3 entries" in str(error.value)
    assert "missing neck.convs.0.gn.weight" in str(error.value)
    assert "unknown bbox_head.surprise.weight" in str(error.value)
    assert "bbox_head.cls_branches.0.bias has shape (150,), expected (80,)" in str(error.value)
