"""The complexity stage from params.yaml to its three files."""

import json
from pathlib import Path

import numpy as np
import pytest

from panoptic.datasets.coco import build_index
from stages import complexity
from tests.markdown import unpadded
from tests.tiny_dataset import random_image, write_split

PARAMS = """
complexity: {models: %s, flops_size: [64, 48], latency_models: %s, latency_sizes: [[64, 48], [33, 40]],
  repeats: 2}
model: {backbone: tiny, backbone_norm: group, frozen_stages: 0, channels: 32, heads: 4, points: 2, encoder_layers: 1,
  location_layers: 2, thing_mask_layers: 1, stuff_mask_layers: 1, feedforward: 32, queries: 7, selected_queries: 5}
"""


def arguments(folder: Path, models: str, latency_models: str) -> list[str]:
    """Write settings and an index below `folder`; returns the arguments."""
    split = write_split(folder / "data", "val", [random_image(np.random.default_rng(0), 1, 48, 64)])
    build_index(split.panoptic_json, split.masks, split.images).save(folder / "index.json")
    (folder / "params.yaml").write_text(PARAMS % (models, latency_models))
    paths = folder / "params.yaml", folder / "index.json", folder / "out"
    return [f"--{name}={path}" for name, path in zip(("params", "index", "out"), paths, strict=True)]


def test_writes_numbers_rows_and_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    complexity.main(arguments(tmp_path, "[configured, r50]", "[configured]"))
    out = tmp_path / "out"
    metrics = json.loads((out / "metrics.json").read_text())
    assert list(metrics) == ["configured", "r50"]
    for size in ("64x48", "33x40"):
        assert 0 < metrics["configured"][f"latency_ms_median_{size}"] <= metrics["configured"][f"latency_ms_p90_{size}"]
        assert metrics["configured"][f"memory_mib_{size}"] > 0
    assert not any("latency" in name for name in metrics["r50"])
    assert metrics["r50"]["trainable_parameters"] == 50_383_692
    assert abs(metrics["r50"]["parameters_difference_percent"]) < 0.1
    assert abs(metrics["r50"]["gmacs_difference_percent"]) < 1
    configured, published = json.loads((out / "rows.json").read_text())
    assert configured["paper"] is None
    for row in (configured, published):
        assert sum(part["parameters"] for part in row["parts"].values()) == row["parameters"]
    table = unpadded((out / "table.md").read_text())
    assert "| r50 | 50.66 | 50.38 | 51.00 | 51.0 | -0.0 % | 1200 x 800 | 214.2 | 214.0 | +0.1 % |" in table
    assert "| r50 | 50,659,212 | 530,448 | 82,240 | 51,271,900 |" in table
    assert "| configured | 33 x 40 |" in table
    printed, progress = capsys.readouterr()
    assert "| configured |" in printed
    assert "| r50 | 50.66 | 50.38 | 51.00 | 51.0 | -0.0 % |" in unpadded(printed)
    assert "| r50 | 214.2 | 214.0 | +0.1 % |" in unpadded(printed)
    assert "complexity: 100%" in progress, "counting takes minutes"


@pytest.mark.parametrize(
    ("models", "latency_models", "message"),
    [
        ("[r51]", "[]", "complexity.models: there is no model r51; choose from configured, r50, r101"),
        ("[r50]", "[r101]", "complexity.latency_models: r101 should be among complexity.models too"),
    ],
)
def test_an_unknown_model_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], models: str, latency_models: str, message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        complexity.main(arguments(tmp_path, models, latency_models))
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
