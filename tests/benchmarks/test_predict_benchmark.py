"""The benchmark of the predict command runs both, and its page shows their rates and the fraction."""

import json
from pathlib import Path

import pytest

from benchmarks.predict.__main__ import COMMAND, NETWORK, main
from tests.markdown import unpadded
from tests.panoptic_segformer.made_model import write_model, write_photos


def test_command_and_network_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, weights = write_photos(tmp_path / "photos", count=4), write_model(tmp_path / "model.safetensors")
    main(["--images", str(photos), "--model", str(weights), "--rounds", "1", "--out", str(tmp_path)])
    report = json.loads((tmp_path / "predict.json").read_text())
    assert report["images"] == 4
    rates = {name: summary["median"] for name, summary in report["rates"].items()}
    assert report["fraction"]["median"] == pytest.approx(rates[COMMAND] / rates[NETWORK])
    assert f"| {COMMAND} | {rates[COMMAND]:.2f} " in unpadded((tmp_path / "predict.md").read_text())
