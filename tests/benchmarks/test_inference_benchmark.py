"""The inference benchmark interleaves methods in processes of their own, and its page shows their costs."""

import json
from pathlib import Path

import pytest

from benchmarks.harness.interleave import Worker
from benchmarks.harness.results import publish
from benchmarks.inference.__main__ import InferencePlan, measure
from benchmarks.inference.report import inference_page
from benchmarks.inference.worker import PARTS
from model.network.config import NetworkConfig
from tests.markdown import unpadded

TINY = NetworkConfig(
    channels=32, heads=2, points=1, encoder_layers=1, location_layers=1, thing_mask_layers=1, stuff_mask_layers=1,
    feedforward=32, mask_feedforward=32, queries=10, selected_queries=5,
)  # fmt: skip


def test_methods_are_interleaved_and_their_parts_add_up(tmp_path: Path) -> None:
    report = measure(InferencePlan(("naive", "ours"), TINY, (64, 96), rounds=2, threads=1))
    publish("inference", inference_page(report), report, tmp_path)
    content = json.loads((tmp_path / "inference.json").read_text())
    assert content["conditions"]["rounds"] == 2
    for name in ("naive", "ours"):
        seconds, parts = content["seconds"][name], content["parts"][name]
        assert 0 < seconds["lowest"] <= seconds["median"] <= seconds["highest"]
        assert parts.keys() == {*PARTS, "merging", "rest"}
        assert all(value > 0 for value in parts.values())
        assert content["memory"][name] > 0
    assert content["speedup"]["naive"]["median"] == 1
    page = unpadded((tmp_path / "inference.md").read_text())
    assert page.count("| naive |") == 3
    assert "| location decoder |" in page


def test_a_process_that_ends_early_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="ended early"):
        Worker("inference.worker", "nobody's method")
    assert "invalid choice" in capfd.readouterr().err
