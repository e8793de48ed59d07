"""The notebook in docs/ runs from its first cell to its last, and is stored without outputs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model.inference.merging import MergingSettings
from model.inference.settings import InferenceSettings
from model.network.panoptic_segformer import PanopticSegFormer
from model.weights.checkpoint import Checkpoint, save_checkpoint
from panoptic.format.categories import CategoryTable
from panoptic.format.id_map import decode_id_map
from panoptic_segformer import Result
from tests.model.training.synthetic import NETWORK
from tests.tiny_dataset import CATEGORIES

NOTEBOOK = Path(__file__).parents[2] / "docs" / "photo.ipynb"
LENIENT = MergingSettings(score_threshold=0, mask_threshold=0, overlap_things=1, overlap_stuff=1)


def cells() -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(NOTEBOOK.read_text())["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On weights and a photo under the names that it gives, as Jupyter would: in order, in one namespace."""
    categories = CategoryTable.from_json(CATEGORIES)
    torch.manual_seed(0)
    network = PanopticSegFormer(NETWORK, len(categories.things), len(categories.stuff))
    settings = InferenceSettings(48, 96, merging=LENIENT)
    save_checkpoint(
        tmp_path / "runs" / "train" / "model.safetensors",
        Checkpoint(NETWORK, categories, {}, network, inference=settings),
    )
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for cell in cells():
        source = cell["source"]
        assert isinstance(source, list)
        exec(compile("".join(source), str(cell["id"]), "exec"), namespace)
    result = namespace["result"]
    assert isinstance(result, Result)
    assert len(capsys.readouterr().out.splitlines()) == len(result.segments) > 0
    assert result._repr_png_().startswith(b"\x89PNG")
    np.testing.assert_array_equal(decode_id_map(Path("panoptic.png").read_bytes(), ""), result.ids)
    assert len(json.loads(Path("panoptic.json").read_text())["segments_info"]) == len(result.segments)
    assert Image.open("overlay.png").size == (64, 48)


def test_it_is_stored_without_outputs() -> None:
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells())
