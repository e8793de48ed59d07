"""The inference benchmark: every way takes its turns in a process of its own, and the page shows what it said."""

import json
from pathlib import Path

import pytest

from benchmarks.harness.interleave import Turns
from benchmarks.inference import __main__ as inference
from benchmarks.inference.__main__ import Plan
from benchmarks.inference.worker import PARTS
from model.network.config import NetworkConfig

TINY = NetworkConfig(
    channels=32, heads=2, points=1, encoder_layers=1, location_layers=1, thing_mask_layers=1, stuff_mask_layers=1,
    feedforward=32, mask_feedforward=32, queries=10, selected_queries=5,
)  # fmt: skip


def test_ways_take_turns_and_their_parts_make_up_the_whole(tmp_path: Path) -> None:
    inference.write(Plan(("straightforward", "ours"), TINY, (64, 96), rounds=2, threads=1), tmp_path)
    content = json.loads((tmp_path / "inference.json").read_text())
    assert content["conditions"]["rounds"] == 2
    for name in ("straightforward", "ours"):
        seconds, parts = content["seconds"][name], content["parts"][name]
        assert 0 < seconds["low"] <= seconds["median"] <= seconds["high"]
        assert parts.keys() == {*PARTS, "merging", "rest"}
        assert all(value > 0 for value in parts.values())
        assert content["memory"][name] > 0
    assert content["speedup"]["straightforward"]["median"] == 1
    page = (tmp_path / "inference.md").read_text()
    assert page.count("| straightforward |") == 3
    assert "| location decoder |" in page


def test_a_process_that_ends_early_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="ended early"):
        Turns("inference.worker", "nobody's way")
    assert "invalid choice" in capfd.readouterr().err
