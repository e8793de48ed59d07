"""The numbers of a plan, each against a real run."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.harness.synthetic import made_categories, made_sample
from benchmarks.plan.dataset import (
    DRAWN,
    MadeImages,
    PlannedDataset,
    Recipe,
    SplitStatistics,
    find_dataset,
)
from benchmarks.plan.estimate import PlannedWork, disk_rows
from benchmarks.plan.measure import Costs, StepCosts
from benchmarks.plan.plan import time_rows
from benchmarks.plan.report import PlanRow
from model.inference.settings import InferenceSettings
from model.network.panoptic_segformer import PanopticSegFormer
from model.training.curves import Curves
from model.training.ema import WeightAverage
from model.training.optimizer import build_optimizers
from model.training.settings import TrainSettings
from model.training.state import RunState
from panoptic.data.transforms import AugmentationSettings
from panoptic.datasets.download.obtaining import DownloadSettings
from panoptic.datasets.layout import DatasetSettings
from panoptic.datasets.shards import AnnotateSettings
from panoptic.format.segments import Segment, measure_segments
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.robustness.corrupted_split import CorruptSettings
from tests.model.network.tiny_network import STUFF, THINGS, TINY

CATEGORIES = made_categories(THINGS, STUFF)
IMAGES = SplitStatistics(100, ((24, 32),), 2, 1, "made up")
DATASET = PlannedDataset(IMAGES, replace(IMAGES, count=30), THINGS, STUFF)
RECIPE = Recipe(
    dataset=DatasetSettings("own", "own", "train", "val"),
    download=DownloadSettings(),
    annotate=AnnotateSettings(),
    model=TINY,
    train=TrainSettings(epochs=3, batch_size=8, images_per_forward=2, workers=2),
    predict=InferenceSettings(),
    corrupt=CorruptSettings(corruptions=["fog"], severities=[1, 3], images=10, workers=0),
    processes=2,
)
STEP = StepCosts((10, 10), 1.0, (20, 10), 2.0, mean_pixels=150, optimizer_seconds=0.5, bytes=1)
COSTS = Costs("cpu", 100, STEP, 0.1, 0.2, 0.3, 1, 0.4, 0.5, 0.6, 0.7)


def _values(rows: Sequence[PlanRow]) -> dict[str, float]:
    return {row.name: row.value for row in rows}


@pytest.mark.parametrize(("steps_per_epoch", "interval"), [(13, 13), (13, 5), (13, 38), (13, 39), (13, 100)])
def test_validations_are_those_of_the_loop(steps_per_epoch: int, interval: int) -> None:
    work = PlannedWork(replace(RECIPE, train=replace(RECIPE.train, validate_every=interval)), DATASET)
    assert work.steps == 3 * steps_per_epoch  # 13 steps of 8 show 100 images
    assert work.validations == sum(step % interval == 0 or step == work.steps for step in range(1, work.steps + 1))


def test_the_cost_of_a_mean_pass_is_interpolated() -> None:
    assert STEP.mean_seconds == pytest.approx(1.5)
    assert replace(STEP, mean_pixels=100).mean_seconds == 1.0
    assert replace(STEP, largest_size=(10, 10)).mean_seconds == 1.0
    assert replace(STEP, largest_seconds=0.9).mean_seconds == 1.0  # noise: a larger pass is not cheaper


def test_hours_are_sums_of_measurements() -> None:
    found = _values(list(time_rows(PlannedWork(RECIPE, DATASET), COSTS)))
    assert found["a step"] == pytest.approx(2 * 1.5 + 0.5)  # 8 images by 2 processes, 2 a pass
    assert found["training"] == pytest.approx(39 * 3.5)
    assert found["validations"] == pytest.approx(1 * 30 * (0.2 + 0.3 + 0.4 + 0.6))
    assert found["predict"] == pytest.approx(30 * (0.2 + 0.3 + 0.4 + 0.5))
    assert found["evaluate"] == pytest.approx(30 * 0.6)
    assert found["robustness"] == pytest.approx(20 * (0.2 + 0.3 + 0.6 + 0.7))


def test_an_impossible_measurement_is_named() -> None:
    """A smaller pass that takes longer than the largest shows that the machine was busy."""
    busy = replace(COSTS, step=replace(STEP, typical_seconds=3.0))
    said = [
        ["other work" in row.how for row in time_rows(PlannedWork(RECIPE, DATASET), costs)] for costs in (COSTS, busy)
    ]
    assert [sum(line) for line in said] == [0, 1]


def test_slow_workers_determine_the_speed() -> None:
    slow = replace(COSTS, read_to_train_seconds=10.0, corrupt_seconds=8.0)
    found = _values(list(time_rows(PlannedWork(RECIPE, DATASET), slow)))
    assert found["a step"] == pytest.approx(4 * 10.0 / 2)  # images of a process, divided among its workers
    busy = replace(RECIPE, corrupt=replace(RECIPE.corrupt, workers=4))
    assert _values(list(time_rows(PlannedWork(busy, DATASET), slow)))["robustness"] == pytest.approx(20 * 8.0 / 4)


@pytest.mark.parametrize(("optimizer", "decay"), [("adamw", 0.0), ("muon", 0.0), ("adamw", 0.9), ("muon", 0.9)])
def test_the_state_is_as_large_as_planned(optimizer: str, decay: float, tmp_path: Path) -> None:
    settings = replace(RECIPE.train, optimizer=optimizer, ema_decay=decay)
    planned = _values(list(disk_rows(replace(RECIPE, train=settings), DATASET, 0)))["runs/state"]
    network = PanopticSegFormer(TINY, THINGS, STUFF)
    average = WeightAverage(network, decay) if decay else None
    state = RunState(network, build_optimizers(network, settings), average, Curves(tmp_path))
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    for trained in state.optimizers:
        trained.step()
    state.save(tmp_path / "state.pt")
    # Every tensor of the file has a few hundred bytes of overhead, which matter for tiny ones.
    tensors = 200 * len(network.state_dict()) * 4
    assert planned / 2 <= (tmp_path / "state.pt").stat().st_size <= planned / 2 * 1.05 + tensors * 2


def test_passes_have_the_sizes_that_augmentation_gives() -> None:
    crops = AugmentationSettings(0.5, [], 100, 1.0, [40, 60], 16, 16)
    images = MadeImages(((30, 40), (40, 30)), 2, 1, CATEGORIES, crops, 2, "decoupled")
    assert images.typical_and_largest()[2] == 16 * 16
    resized = replace(images, augmentation=AugmentationSettings(0.5, [20, 30], 30, 0.0))
    typical, largest, mean = resized.typical_and_largest()
    areas = [int(np.prod(resized.shape(draw))) for draw in range(DRAWN)]
    assert max(areas) == np.prod(resized.shape(largest)) == 30 * 23  # 30 x 40, no side above 30
    assert np.prod(resized.shape(typical)) == np.median(areas)
    assert min(areas) == 20 * 27
    assert mean == pytest.approx(float(np.mean(areas)))
    batch = resized.batch(typical).to(torch.device("cpu"))
    assert tuple(batch.images.shape) == (2, 3, *resized.shape(typical))
    assert any(len(target.query_labels) for target in batch.targets)


def test_a_made_sample_is_valid() -> None:
    sample = made_sample(np.random.default_rng(0), (24, 32), 5, 2, CATEGORIES)
    extents = measure_segments(sample.ids)
    assert {segment.id: segment.area for segment in sample.record.segments} == {
        key: extent.area for key, extent in extents.items()
    }
    assert sum(segment.area for segment in sample.record.segments) == 24 * 32
    assert not made_sample(np.random.default_rng(0), (24, 32), 5, 2, made_categories(0, 0)).record.segments


def test_an_index_is_used_for_its_own_dataset_and_split_only(tmp_path: Path) -> None:
    root, annotated = tmp_path / "own", tmp_path / "annotated"
    segment = Segment(1, CATEGORIES.things[0].id, False, 4, (0, 0, 2, 2))
    for role, count in (("train", 7), ("val", 3)):
        records = [ImageRecord(n, f"{n}.jpg", f"{n}.png", 48, 64, (segment,)) for n in range(1, count + 1)]
        PanopticIndex(CATEGORIES, root / role, root / "masks", records).save(annotated / f"{role}.index")
    own = replace(RECIPE, dataset=DatasetSettings("own", str(root), "train", "val"))
    found = find_dataset(own, annotated)
    assert (found.train.count, found.val.count, found.num_things, found.num_stuff) == (7, 3, THINGS, STUFF)
    assert (found.train.things, found.train.stuff, found.train.pixels) == (1, 0, 48 * 64)
    for dataset in (DatasetSettings("own", str(root), "other", "val"), DatasetSettings("own", "elsewhere", "train")):
        with pytest.raises(ValueError, match="incomplete; missing"):
            find_dataset(replace(RECIPE, dataset=dataset), annotated)
    published = DatasetSettings("coco", str(tmp_path / "coco"), "train2017", "val2017")
    assert find_dataset(replace(RECIPE, dataset=published), annotated).train.count == 118_287
