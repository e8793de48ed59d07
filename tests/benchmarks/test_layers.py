"""The masks of each layer of a mask decoder, read out of one training of a tiny network."""

from pathlib import Path

import pytest
import yaml

from benchmarks.harness.results import read_report
from benchmarks.layers import __main__ as layers
from benchmarks.layers.report import LayersReport
from tests.markdown import unpadded


@pytest.mark.slow
def test_every_layer_is_read_out_of_one_training(params: Path) -> None:
    params.write_text(params.read_text().replace(", stuff: joint, mask_head: fpn", ""))
    folder = params.parent
    folders = ["--params", str(params), "--work", str(folder / "work"), "--out", str(folder / "out")]
    layers.main([*folders, "--depth", "2", "--steps", "2"])
    report = read_report("layers", LayersReport, folder / "out")
    assert [layer.name for layer in report.early_exit.layers] == ["1", "2", "all"]
    assert (report.early_exit.images, report.early_exit.batch_size, report.conditions.images) == (4, 1, 4)
    settings = yaml.safe_load((folder / "work/deep-0/params.yaml").read_text())
    assert settings["model"]["stuff_mask_layers"] == settings["model"]["thing_mask_layers"] == 2
    page = unpadded((folder / "out/layers.md").read_text())
    assert "| mask layers | PQ | things | stuff | PQ lost | milliseconds | of the time of all |" in page
    assert "| all |" in page
    assert "the layers after it are not computed" in page


def test_impossible_numbers_are_refused(params: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        layers.main(["--params", str(params), "--depth", "0"])
    assert ended.value.code == 2
    assert "mask decoders cannot have 0 layers; give at least 1" in capsys.readouterr().err
