"""The time of the merging methods, measured on a tiny network's masks and on drawn ones."""

from pathlib import Path

import pytest
import torch

from benchmarks.harness.drawn_masks import draw_found
from benchmarks.harness.results import read_report
from benchmarks.merging import __main__ as merging
from benchmarks.merging.__main__ import MergingReport, measure_merging, merging_page
from model.inference.merging import METHODS, MergingSettings
from model.inference.post_processing import ImageSizes
from model.inference.settings import InferenceSettings
from model.network.config import NetworkConfig
from model.network.panoptic_segformer import PanopticSegFormer
from model.weights.checkpoint import Checkpoint, save_checkpoint
from panoptic.datasets.coco import build_index
from tests.markdown import unpadded

SIZES = ImageSizes((48, 64), (48, 64), (48, 64))


def test_drawn_masks_become_segments_by_every_method() -> None:
    found = draw_found(40, (24, 32), SIZES, (80, 53))
    assert found.masks.shape == (40, 24, 32)
    again = draw_found(40, (24, 32), SIZES, (80, 53))
    assert torch.equal(found.masks, again.masks)
    assert (found.masks[:26] > 0.5).sum(0).max() == 1, "probable masks do not overlap"
    for method in METHODS:
        prediction = found.merge(MergingSettings(method=method))
        assert 10 < len(prediction.segments) <= 26, method
        assert {segment.is_thing for segment in prediction.segments} == {True, False}
        assert len(prediction.instances.labels) == 34, "all but the stuff"


def test_ratios_are_those_of_the_same_rounds() -> None:
    images = [draw_found(30, (12, 16), SIZES, (80, 53))] * 2
    report = measure_merging({"drawn": images}, MergingSettings(), "pixel", rounds=3)
    assert list(report.seconds["drawn"]) == list(METHODS)
    assert all(seconds.lowest > 0 for seconds in report.seconds["drawn"].values())
    pixel = report.ratio["drawn"]["pixel"]
    assert (pixel.lowest, pixel.highest) == (1, 1)
    assert report.masks == {"drawn": "2 images of 48 x 64, 30 masks of 12 x 16 each"}
    page = unpadded(merging_page(report))
    assert "| method | milliseconds | ratio to pixel |" in page
    assert "1.00 (1.00 to 1.00) |" in page


def test_masks_that_a_network_finds_are_merged(params: Path) -> None:
    annotations = params.parent / "data" / "annotations"
    index = build_index(annotations / "panoptic_val.json", annotations / "panoptic_val", params.parent / "data" / "val")
    index.save(params.parent / "val.index")
    config = NetworkConfig(backbone="tiny", frozen_stages=0, channels=32, heads=2, levels=3, encoder_layers=1)
    network = PanopticSegFormer(config, len(index.categories.things), len(index.categories.stuff))
    inference = InferenceSettings(shorter=32, longer=32)
    model = params.parent / "model.safetensors"
    save_checkpoint(model, Checkpoint(config, index.categories, {}, network, inference=inference))
    files = ["--model", str(model), "--index", str(params.parent / "val.index"), "--out", str(params.parent / "out")]
    merging.main([*files, "--images", "2", "--rounds", "1"])
    report = read_report("merging", MergingReport, params.parent / "out")
    found, drawn = report.masks.values()
    assert found.startswith("2 images of 32 x 32, ")
    assert drawn == "5 images of 480 x 640, 153 masks of 100 x 134 each"


def test_no_images_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        merging.main(["--images", "0"])
    assert ended.value.code == 2
    assert "give at least one image and one round" in capsys.readouterr().err
