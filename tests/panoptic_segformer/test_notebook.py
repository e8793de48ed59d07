"""The notebook in docs/ runs from its first cell to its last, and is stored without outputs."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from panoptic.format.id_map import decode_id_map
from panoptic_segformer import Result
from tests.panoptic_segformer.made_model import photo_file, write_model

NOTEBOOK = Path(__file__).parents[2] / "docs" / "photo.ipynb"


def cells() -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(NOTEBOOK.read_text())["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On weights and a photo under the names that it gives, as Jupyter would: in order, in one namespace."""
    write_model(tmp_path / "runs" / "train" / "model.safetensors")
    (tmp_path / "photo.jpg").write_bytes(photo_file(0, form="JPEG"))
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
