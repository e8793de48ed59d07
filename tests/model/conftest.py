"""The R50 network with the weights behind the recorded outputs of the published code."""

from pathlib import Path

import pytest

from benchmarks.official_parity.forward import network_by_rule, read_entries
from model.network.panoptic_segformer import PanopticSegFormer

OFFICIAL = Path(__file__).parents[1] / "fixtures" / "official"


@pytest.fixture(scope="session")
def official_network() -> PanopticSegFormer:
    """In evaluation mode. Shared: leave its weights as they are."""
    keys = OFFICIAL / "keys_r50.json"
    return network_by_rule("r50", read_entries(keys), str(keys))
