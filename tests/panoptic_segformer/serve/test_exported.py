"""An exported model is served: the same maps, but no merging with other settings."""

from pathlib import Path

import numpy as np
import pytest

import panoptic_segformer
from model.export.__main__ import main
from panoptic.format.id_map import decode_id_map
from tests.chromium import chromium
from tests.panoptic_segformer.made_model import PARAMS, photo_file
from tests.panoptic_segformer.serve.browser import opened
from tests.panoptic_segformer.serve.servers import started

pytestmark = pytest.mark.slow


def test_an_exported_model_is_served_without_sliders(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS)
    arguments = ["--model", str(weights), "--params", str(tmp_path / "params.yaml"), "--out", str(tmp_path)]
    main([*arguments, "--format", "onnx", "--size", "48x64"])
    expected = panoptic_segformer.load(tmp_path / "model.onnx")(photo_file(0))
    assert expected.segments
    with started(tmp_path / "model.onnx") as program, program.client() as client:
        answer = client.post("/predict?format=png&keep=1", content=photo_file(0))
        np.testing.assert_array_equal(decode_id_map(answer.content, ""), expected.ids)
        for refused in (
            client.post("/predict?alpha=0.5", content=photo_file(0)),
            client.get(answer.headers["Location"], params={"alpha": "0.5"}),
        ):
            assert (refused.status_code, "merges with its own settings" in refused.text) == (400, True)
        with chromium() as browser, opened(browser, program.address) as screen:
            screen.choose(tmp_path, photo_file(0))
            assert screen.page.is_disabled("#alpha")
            assert screen.page.is_visible("#fixed")
            np.testing.assert_array_equal(screen.downloaded_map(), expected.ids)
