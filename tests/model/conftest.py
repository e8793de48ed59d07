"""The R50 network with the weights behind the recorded outputs of the published code."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.network.config import NetworkConfig
from model.network.panoptic_segformer import PanopticSegFormer
from model.official import from_official, to_official
from tests.fixtures.official import rules

OFFICIAL = Path(__file__).parents[1] / "fixtures" / "official"


@pytest.fixture(scope="session")
def official_weights() -> dict[str, Tensor]:
    """All entries of the published R50 layout; the integer buffers of batch norm are zero."""
    entries = json.loads((OFFICIAL / "keys_r50.json").read_text())["keys"]
    return {
        key: torch.from_numpy(rules.fill(key, tuple(shape))) if kind == "float32" else torch.zeros(shape).long()
        for key, shape, kind in entries
    }


@pytest.fixture(scope="session")
def official_network(official_weights: dict[str, Tensor]) -> PanopticSegFormer:
    """In evaluation mode. Shared: leave its weights as they are."""
    network = PanopticSegFormer(NetworkConfig(), num_things=80, num_stuff=53).eval()
    network.load_state_dict(from_official(official_weights, network.state_dict()))
    assert set(to_official(network.state_dict())) < set(official_weights)
    return network
