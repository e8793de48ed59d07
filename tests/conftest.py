"""Fixtures of every test."""

import sys

import pytest


@pytest.fixture(autouse=True)
def _seed_torch() -> None:
    """Make random weights independent of earlier tests, without loading torch for tests that do not use it."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
