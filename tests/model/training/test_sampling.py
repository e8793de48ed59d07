"""The images of a step are a function of seed and step alone, and loader processes survive the fork."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from model.training.sampling import Accumulation, MicroBatch, TrainingImages, batch_plan, epoch_plan, steps_per_epoch
from panoptic.data.transforms import AugmentationSettings
from panoptic.datasets.coco import build_index
from panoptic.format.categories import CategoryTable
from panoptic.index import ImageRecord, PanopticIndex
from tests.tiny_dataset import CATEGORIES, random_image, write_split

RECORDS = tuple(ImageRecord(index, f"{index}.jpg", f"{index}.png", 10 + index % 3, 11, ()) for index in range(23))


def test_an_epoch_shows_every_image_and_fills_its_last_step() -> None:
    plan = epoch_plan(RECORDS, 4, seed=0, epoch=0)
    assert plan.shape == (steps_per_epoch(23, 4), 4) == (6, 4)
    assert set(plan.flat) == set(range(23))
    assert np.bincount(plan.flat).max() == 2


def _plan_by_hand(records: Sequence[ImageRecord], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Compute the order that runs have been trained in from the beginning, written another way."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(records)).tolist()
    upright = [index for index in order if records[index].width < records[index].height]
    square = [index for index in order if records[index].width == records[index].height]
    wide = [index for index in order if records[index].width > records[index].height]
    order = upright + square + wide
    rows = -(-len(order) // batch_size)
    order = (order * batch_size)[: rows * batch_size]
    return [order[row * batch_size : (row + 1) * batch_size] for row in rng.permutation(rows).tolist()]


def test_the_plan_of_an_epoch_never_changes(tmp_path: Path) -> None:
    PanopticIndex(CategoryTable.from_json(CATEGORIES), Path("i"), Path("m"), RECORDS).save(tmp_path / "a")
    for records in (RECORDS, PanopticIndex.load(tmp_path / "a").records):
        for batch_size, seed, epoch in ((4, 0, 0), (5, 1, 0), (23, 1, 3), (30, 2, 1)):
            assert epoch_plan(records, batch_size, seed, epoch).tolist() == _plan_by_hand(
                RECORDS, batch_size, seed, epoch
            )


def test_epochs_and_seeds_differ_and_repeat() -> None:
    first = epoch_plan(RECORDS, 4, 0, 0)
    assert np.array_equal(first, epoch_plan(RECORDS, 4, 0, 0))
    assert not np.array_equal(first, epoch_plan(RECORDS, 4, 0, 1))
    assert not np.array_equal(first, epoch_plan(RECORDS, 4, 1, 0))


def test_steps_mix_orientations_only_where_they_must() -> None:
    plan = epoch_plan(RECORDS, 4, seed=3, epoch=0)
    orientations = [{np.sign(RECORDS[index].width - RECORDS[index].height) for index in row} for row in plan]
    assert sum(len(found) > 1 for found in orientations) <= 3


def test_fewer_images_than_a_batch() -> None:
    assert epoch_plan(RECORDS[:2], 5, 0, 0).shape == (1, 5)


@pytest.mark.parametrize(("world_size", "images_per_forward"), [(1, 2), (2, 2), (4, 1), (1, 8)])
def test_processes_and_micro_batches_divide_a_step(world_size: int, images_per_forward: int) -> None:
    everything = [batch.images for batch in batch_plan(RECORDS, Accumulation(8, 8), 0, 0, 5)]
    for step in range(5):
        parts: list[tuple[int, int]] = []
        for rank in range(world_size):
            accumulation = Accumulation(8, images_per_forward, rank, world_size)
            own = [batch for batch in batch_plan(RECORDS, accumulation, 0, 0, 5) if batch.step == step]
            assert len(own) == accumulation.micro_batches
            parts += [image for batch in own for image in batch.images]
        assert tuple(parts) == everything[step]


def test_a_resumed_run_continues_with_the_same_images() -> None:
    accumulation = Accumulation(4, 2)
    everything = list(batch_plan(RECORDS, accumulation, 7, 0, 20))
    assert everything[2 * 9 :] == list(batch_plan(RECORDS, accumulation, 7, 9, 20))


def test_a_batch_that_does_not_divide_evenly_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"train\.batch_size is 8, which 3 processes with 2 images"):
        Accumulation(8, 2, 0, 3)


def test_things_of_other_images_are_pasted_into_as_many_as_asked(tmp_path: Path) -> None:
    split = write_split(tmp_path, "train", [random_image(np.random.default_rng(seed), seed) for seed in range(6)])
    index = build_index(split.panoptic_json, split.masks, split.images)

    def loaded(probability: float) -> list[torch.Tensor]:
        augmentation = AugmentationSettings(resize_shorter=[], crop_probability=0, copy_paste_probability=probability)
        images = TrainingImages(index, augmentation, 0)
        return [images[MicroBatch(step, ((0, step % 6),))].to(torch.device("cpu")).images for step in range(60)]

    plain, pasted, again = loaded(0.0), loaded(0.3), loaded(0.3)
    assert all(torch.equal(one, other) for one, other in zip(pasted, again, strict=True))
    changed = sum(not torch.equal(one, other) for one, other in zip(plain, pasted, strict=True))
    assert 8 < changed < 25, "the others are as they are without"


LOADING = """
import cv2, numpy as np
from pathlib import Path
from model.training.sampling import MicroBatch, TrainingImages, training_loader
from panoptic.data.transforms import AugmentationSettings
from panoptic.datasets.coco import build_index
from tests.tiny_dataset import random_images, write_split

split = write_split(Path(), "train", random_images(0, 2))
index = build_index(split.panoptic_json, split.masks, split.images)
cv2.setNumThreads(4)
cv2.resize(np.zeros((2000, 2000, 3), np.uint8), (3000, 3000))
images = TrainingImages(index, AugmentationSettings(resize_shorter=[480]), 0)
(batch,) = training_loader(images, [MicroBatch(0, ((0, 0), (1, 1)))], 1)
print(batch.image_ids)
"""


def test_loading_survives_opencv_threads_of_the_training_process(tmp_path: Path) -> None:
    """A forked process believes it has its parent's threads, and would wait forever for them to stop."""
    command = [sys.executable, "-c", LOADING]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(command, cwd=tmp_path, timeout=60, capture_output=True, text=True, env=environment)
    assert done.stdout == "(100, 101)\n", done.stderr
