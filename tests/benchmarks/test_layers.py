"""The masks of each layer of a mask decoder, read out of one training of a tiny network."""

from pathlib import Path

import pytest
import yaml

from benchmarks.layers import __main__ as layers
from benchmarks.layers.report import LayersReport
from tests.benchmarks.pages import read_report
from tests.markdown import unpadded


@pytest.mark.slow
def test_every_layer_is_read_out_of_one_training(params: Path) -> None:
    params.write_text(params.read_text().replace(", stuff: joint, mask_head: fpn", ""))
    folder = params.parent
    folders = ["--params", str(params), "--work", str(folder / "work"), "--out", str(folder / "out")]
    layers.main([*folders, "--depth", "2", "--steps", "2", "--images", "3", "--rounds", "2"])
    report = read_report("layers", LayersReport, folder / "out")
    assert [found.layer for found in report.layers] == [1, 2, 0]
    assert (report.timed_images, report.conditions.images) == (3, 4)
    assert [path.parent.name for path in folder.glob("work/*/train.log")] == ["last-0"]
    settings = yaml.safe_load((folder / "work/layer_2-0/params.yaml").read_text())
    assert settings["predict"]["mask_layer"] == 2
    assert settings["model"]["stuff_mask_layers"] == settings["model"]["thing_mask_layers"] == 2
    first, _, last = report.layers
    assert last.differences is None
    assert last.speedup.median == 1
    assert first.differences is not None
    value, limits = first.differences["all"]
    assert value == pytest.approx(first.pq["all"][0] - last.pq["all"][0])
    assert limits.low <= value <= limits.high
    assert all(found.seconds.lowest > 0 for found in report.layers)
    page = unpadded((folder / "out/layers.md").read_text())
    assert "| layer | PQ | things | stuff | images per second | times the last layer's |" in page
    assert "| 3, the last |" in page
    assert "the layers after it are not computed" in page


def test_impossible_numbers_are_refused(params: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        layers.main(["--params", str(params), "--depth", "0"])
    assert ended.value.code == 2
    assert "--depth is 0; give at least 1" in capsys.readouterr().err
