"""What holds for every test."""

import sys

import pytest


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    """Weights that torch draws are the same whatever ran before; tests that do without torch need not load it."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
