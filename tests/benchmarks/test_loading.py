"""The loading benchmark measures what training loads, and its page shows the results."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.harness.timer import Timer
from benchmarks.loading import __main__ as loading
from benchmarks.loading.dataset import write_dataset
from benchmarks.loading.parts import load_by_parts
from benchmarks.loading.report import ARRIVED, BY_PILLOW, PARTS, LoadingReport, LoadingRounds, loading_page
from model.training.batch import unpack
from model.training.sampling import MicroBatch, TrainingImages
from panoptic.data.transforms import AugmentationSettings
from panoptic.index import PanopticIndex
from tests.markdown import unpadded

IMAGES = 3


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("drawn"), IMAGES)


@pytest.mark.parametrize("stuff", ["decoupled", "joint"])
def test_the_parts_together_are_what_training_loads(index: Path, stuff: str) -> None:
    images = TrainingImages(PanopticIndex.load(index), AugmentationSettings(), 0, stuff)
    for position in range(IMAGES):
        timer = Timer()
        micro_batch = MicroBatch(position, ((0, position),))
        found, expected = load_by_parts(images, micro_batch, timer), images[micro_batch]
        assert timer.laps.keys() == {*PARTS, ARRIVED, *BY_PILLOW}
        assert all(seconds > 0 for seconds in timer.laps.values())
        assert found.layout == expected.layout
        assert found.image_sizes == expected.image_sizes
        for one, other in zip(*(unpack(packed.data, packed.layout) for packed in (found, expected)), strict=True):
            assert torch.equal(one, other)


def test_the_page_shows_medians_and_ratios() -> None:
    parts = {name: [0.001, 0.002, 0.003] for name in (*PARTS, ARRIVED)}
    parts |= {name: [0.002, 0.004, 0.012] for name in BY_PILLOW}
    rates = {0: [10.0, 20.0, 30.0], 2: [30.0, 30.0, 30.0]}
    report = LoadingReport(LoadingRounds(4, (0, 2), 3), "some machine", "drawn ones", parts, rates)
    page = unpadded(loading_page(report))
    assert "| id map read | 2.00 (1.00 to 3.00) | 17% |" in page
    assert f"| total | 12.00 ({len(PARTS)}.00 to 18.00) | |" in page
    assert "| image decoded by Pillow | 4.00 (2.00 to 12.00) | 2.00 (2.00 to 4.00) times ours |" in page
    assert "| 2 | 30.0 (30.0 to 30.0) | 1.50 (1.00 to 3.00) |" in page


def test_a_dataset_of_your_own_is_measured(index: Path, tmp_path: Path) -> None:
    options = ["--index", str(index), "--images", "4", "--workers", "2", "--rounds", "2", "--out", str(tmp_path)]
    loading.main(options)
    content = json.loads((tmp_path / "loading.json").read_text())
    assert {len(values) for values in (*content["parts"].values(), *content["rates"].values())} == {2}
    assert f"images of {index}" in (tmp_path / "loading.md").read_text()


def test_impossible_numbers_are_refused(tmp_path: Path) -> None:
    for wrong in (["--rounds", "0"], ["--workers", "0"], ["--images", "2"]):
        with pytest.raises(SystemExit):
            loading.main([*wrong, "--out", str(tmp_path)])
    assert not list(tmp_path.iterdir())
