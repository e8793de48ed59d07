"""The benchmark of the server runs it, compares every map, and its page shows what was measured."""

import json
from pathlib import Path

import pytest

from benchmarks.harness.results import read_report
from benchmarks.serve.__main__ import CLIENTS, NETWORK, main
from benchmarks.serve.load import Load
from benchmarks.serve.report import Memory, ServeReport, serve_page
from tests.markdown import unpadded
from tests.panoptic_segformer.made_model import write_model, write_photos


def test_server_and_network_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, weights = write_photos(tmp_path / "photos", count=4), write_model(tmp_path / "model.safetensors")
    options = "--requests", "8", "--rounds", "1", "--memory-requests", "20"
    main(["--images", str(photos), "--model", str(weights), "--out", str(tmp_path), *options])
    report = read_report("serve", ServeReport, tmp_path)
    assert list(report.loads) == [NETWORK, "1 client", *(f"{count} clients" for count in CLIENTS[1:])]
    for load in report.loads.values():
        assert load.wrong == 0
        assert load.fraction.median == pytest.approx(load.rate.median / report.loads[NETWORK].rate.median)
    assert {status[0] for status in report.refused} == {"4"}
    assert report.right_afterwards
    assert 0 < report.memory.before <= report.memory.end
    assert json.loads((tmp_path / "serve.json").read_text())["requests"] == 8
    assert f"| 32 clients | {report.loads['32 clients'].rate:.1f} " in unpadded((tmp_path / "serve.md").read_text())


def test_the_page_says_what_became_of_memory_and_hostile_uploads() -> None:
    memory = Memory(2000, 200, before=300_000_000, warm=400_000_000, end=410_000_000, slope=5_555.5)
    page = serve_page(ServeReport("machine", 3, 8, 5, {}, memory, {"415": 2, "400": 1}, right_afterwards=True))
    assert "before the first request: 300; after 200 requests: 400; after 2000: 410." in page
    assert "5.56 kB a request" in page
    assert "3 uploads that are damaged, enormous or no image were answered: 1 with 400, 2 with 415." in page


def test_a_load_has_rate_and_percentiles() -> None:
    load = Load(2.0, tuple(number / 100 for number in range(101)), wrong=1)
    assert load.rate == pytest.approx(50.5)
    assert load.percentile(50) == pytest.approx(500)
    assert load.percentile(99) == pytest.approx(990)
