"""Fixtures of every test."""

import signal
import sys

import pytest

# A shell that starts the tests in the background makes them, and all programs that they start and interrupt, ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _seed_torch() -> None:
    """Make random weights independent of earlier tests, without loading torch for tests that do not use it."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
