"""Batches from the loader to the network: which queries find the stuff, and where segments are in their image."""

import pickle
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from model.pixels import normalize
from model.training.batch import PackedBatch, collate
from panoptic.data.reader import Sample
from panoptic.format.categories import CategoryTable
from panoptic.format.segments import Segment, measure_segments
from panoptic.index import ImageRecord
from tests.model.training.synthetic import assert_same_batch
from tests.tiny_dataset import CATEGORIES, STUFF, THINGS, make_sample

TABLE = CategoryTable.from_json(CATEGORIES)
CPU = torch.device("cpu")


def halves(height: int, width: int) -> Sample:
    """Make an image with a thing of the second class on its left half and the second stuff class on its right half."""
    ids = np.ones((height, width), np.int32)
    ids[:, width // 2 :] = 2
    return sample_of(ids, {1: THINGS[1], 2: STUFF[1]})


def sample_of(ids: np.ndarray, categories: dict[int, int]) -> Sample:
    """Make an image of noise with these segments."""
    height, width = ids.shape
    segments = tuple(
        Segment(key, categories[key], False, extent.area, extent.box_xywh)
        for key, extent in measure_segments(ids).items()
    )
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Sample(image, ids, ImageRecord(height, "", "", height, width, segments))


def collated(stuff: str) -> tuple[Tensor, ...]:
    """Return the target of the second of two images, which is smaller and hence padded."""
    batch = collate([halves(10, 12), halves(6, 8)], TABLE, stuff).to(CPU)
    assert batch.image_sizes == ((10, 12), (6, 8))
    target = batch.targets[1]
    geometry = target.query_boxes, target.query_moments
    return target.query_masks, target.query_labels, *geometry, target.stuff_masks, target.stuff_labels


def test_decoupled_stuff_is_kept_apart() -> None:
    masks, labels, boxes, moments, stuff_masks, stuff_labels = collated("decoupled")
    assert masks.shape == stuff_masks.shape == (1, 10, 12)
    assert masks.sum() == stuff_masks.sum() == 24
    assert masks[0, :6, :4].all()
    assert stuff_masks[0, :6, 4:8].all()
    assert labels.tolist() == [1]
    assert stuff_labels.tolist() == [1]
    torch.testing.assert_close(boxes, torch.tensor([[0.25, 0.5, 0.5, 1.0]]))
    torch.testing.assert_close(moments, torch.tensor([[0.25, 0.5, 24 / 48]]))  # of 6 x 8 pixels, without padding


def test_joint_stuff_comes_after_the_things() -> None:
    masks, labels, boxes, moments, stuff_masks, _ = collated("joint")
    assert labels.tolist() == [1, len(THINGS) + 1]
    assert len(stuff_masks) == 0
    assert masks.sum((1, 2)).tolist() == [24, 24]
    torch.testing.assert_close(boxes[1], torch.tensor([0.75, 0.5, 0.5, 1.0]))
    torch.testing.assert_close(moments[1], torch.tensor([0.75, 0.5, 0.5]))


def test_without_stuff_only_things_are_left() -> None:
    masks, labels, *_, stuff_masks, stuff_labels = collated("none")
    assert labels.tolist() == [1]
    assert len(masks) == 1
    assert len(stuff_masks) == len(stuff_labels) == 0


@pytest.mark.parametrize("stuff", ["decoupled", "joint", "none"])
def test_an_image_without_segments(stuff: str) -> None:
    (target,) = collate([sample_of(np.zeros((4, 4), np.int32), {})], TABLE, stuff).to(CPU).targets
    assert target.query_masks.shape == target.stuff_masks.shape == (0, 4, 4)
    assert target.query_boxes.shape == (0, 4)
    assert target.query_moments.shape == (0, 3)


def test_images_are_normalized_and_padded_with_zeros() -> None:
    samples = [halves(10, 6), halves(5, 12)]
    images = collate(samples, TABLE, "decoupled").to(CPU).images
    assert images.shape == (2, 3, 10, 12)
    for image, sample in zip(images, samples, strict=True):
        height, width = sample.ids.shape
        assert torch.equal(image[:, :height, :width], normalize(torch.from_numpy(sample.image)[None])[0])
        assert not image[:, height:].any()
        assert not image[:, :, width:].any()


@pytest.mark.parametrize("seed", range(4))
def test_masks_are_those_of_the_id_map(seed: int) -> None:
    sample = make_sample(seed)
    (target,) = collate([sample], TABLE, "decoupled").to(CPU).targets
    segments = [segment for segment in sample.record.segments if not segment.is_crowd]
    things = [segment.id for segment in segments if segment.category_id in THINGS]
    for masks, ids in (
        (target.query_masks, [[key] for key in things]),
        (
            target.stuff_masks,
            [[s.id for s in segments if s.category_id == STUFF[label]] for label in target.stuff_labels.tolist()],
        ),
    ):
        assert torch.equal(masks, torch.from_numpy(np.array([np.isin(sample.ids, keys) for keys in ids])))


def test_a_batch_crosses_processes_as_one_tensor() -> None:
    packed = collate([sample_of(np.zeros((3, 5), np.int32), {}), halves(7, 9)], TABLE, "decoupled")
    assert [type(value) for value in vars(packed).values()].count(Tensor) == 1
    # Three bytes per pixel for the image, two for the map, and a little for the tables.
    assert packed.data.nbytes - 2 * 7 * 9 * (3 + 2) < 120
    found: PackedBatch = pickle.loads(pickle.dumps(packed))
    batch = found.to(CPU)
    assert (batch.image_sizes, batch.image_ids) == (((3, 5), (7, 9)), (3, 7))
    assert_same_batch(batch, packed.to(CPU))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_reads_pinned_memory_and_makes_the_same_batch() -> None:
    packed = collate([make_sample(0), halves(7, 9)], TABLE, "decoupled")
    (loaded,) = DataLoader(cast("Dataset[PackedBatch]", [packed]), batch_size=None, pin_memory=True)
    assert loaded.data.is_pinned()
    found, expected = loaded.to(torch.device("cuda")), packed.to(CPU)
    assert found.images.is_cuda
    torch.testing.assert_close(found.images.cpu(), expected.images)
    for one, other in zip(found.targets, expected.targets, strict=True):
        assert all(torch.equal(vars(one)[name].cpu(), value) for name, value in vars(other).items())
