"""Comparisons of networks on a tiny dataset, for the benchmarks that run them."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness.stages import Stages
from panoptic.io.json_fields import JsonObject, read_json, write_json
from tests.benchmarks.tiny_comparison import METRICS, PARAMS, counts_by_image
from tests.tiny_dataset import random_image, write_split


@pytest.fixture
def params(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        write_split(tmp_path / "data", split, [random_image(rng, number, 32, 32) for number in range(4)])
    file = tmp_path / "params.yaml"
    file.write_text(PARAMS.format(root=tmp_path / "data"))
    return file


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the stages that are started for each row, and that do no more than write their files."""
    started: list[str] = []

    def train(_stages: Stages, params: Path, annotated: Path, folder: Path) -> bool:
        started.append(f"train {folder.name}")
        (folder / "train").mkdir()
        (folder / "train/metrics.json").write_text('{"parameters": 1, "seconds_since_last_start": 2.0}')
        (folder / "model.safetensors").touch()
        return False

    def score(
        _stages: Stages, params: Path, index: Path, model: Path, folder: Path, instances: Path | None = None
    ) -> JsonObject:
        started.append(f"score {folder.name}")
        assert instances is not None, "for AP"
        write_json(folder / "per_image.json", counts_by_image(0.5))
        write_json(folder / "error_breakdown.json", {"all": {"pq_loss": {"merging": 0.2, "missed": 0.3}}})
        write_json(folder / "metrics.json", METRICS)
        return read_json(folder / "metrics.json")

    monkeypatch.setattr(Stages, "train", train)
    monkeypatch.setattr(Stages, "score", score)
    return started
