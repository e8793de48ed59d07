"""Targets as tensors: who shall find the stuff, and where segments lie relative to their own picture."""

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from model.training.batch import MASKS_AT_ONCE, collate, resized
from panoptic.target import PanopticTarget

THINGS = 3


def halves(height: int, width: int) -> PanopticTarget:
    """A thing of class 2 on the left half of a picture; stuff 1 on the right half."""
    left = np.zeros((1, height, width), dtype=bool)
    left[..., : width // 2] = True
    box = np.array([[0, 0, width // 2, height]], dtype=np.float32)
    return PanopticTarget(left, np.array([2]), box, ~left, np.array([1]))


def collated(stuff: str) -> tuple[torch.Tensor, ...]:
    """The second picture of a batch is smaller than the first, so it is padded."""
    images = [np.ones((3, 10, 12), dtype=np.float32), np.ones((3, 6, 8), dtype=np.float32)]
    batch = collate(images, [halves(10, 12), halves(6, 8)], [1, 2], stuff, THINGS)
    assert batch.image_sizes == ((10, 12), (6, 8))
    return tuple(vars(batch.targets[1]).values())


def test_decoupled_stuff_keeps_to_itself() -> None:
    masks, labels, boxes, centres, stuff_masks, stuff_labels = collated("decoupled")
    assert masks.shape == stuff_masks.shape == (1, 10, 12)
    assert masks.sum() == stuff_masks.sum() == 24
    assert labels.tolist() == [2]
    assert stuff_labels.tolist() == [1]
    torch.testing.assert_close(boxes, torch.tensor([[0.25, 0.5, 0.5, 1.0]]))
    torch.testing.assert_close(centres, torch.tensor([[0.25, 0.5]]))


def test_joint_stuff_comes_after_the_things() -> None:
    masks, labels, boxes, centres, stuff_masks, _ = collated("joint")
    assert labels.tolist() == [2, THINGS + 1]
    assert len(stuff_masks) == 0
    assert masks.sum((1, 2)).tolist() == [24, 24]
    torch.testing.assert_close(boxes[1], torch.tensor([0.75, 0.5, 0.5, 1.0]))
    torch.testing.assert_close(centres[1], torch.tensor([0.75, 0.5]))


def test_without_stuff_only_things_are_left() -> None:
    masks, labels, *_, stuff_masks, stuff_labels = collated("none")
    assert labels.tolist() == [2]
    assert len(masks) == 1
    assert len(stuff_masks) == len(stuff_labels) == 0


@pytest.mark.parametrize("stuff", ["decoupled", "joint", "none"])
def test_a_picture_without_segments(stuff: str) -> None:
    nothing, labels = np.zeros((0, 4, 4), dtype=bool), np.zeros(0, dtype=np.int64)
    empty = PanopticTarget(nothing, labels, np.zeros((0, 4), dtype=np.float32), nothing, labels)
    (target,) = collate([np.ones((3, 4, 4), dtype=np.float32)], [empty], [1], stuff, THINGS).targets
    assert target.query_boxes.shape == (0, 4)
    assert target.query_centres.shape == (0, 2)


def test_resized_masks_are_those_of_floats() -> None:
    """More masks than are turned into floats at once."""
    masks = torch.rand(MASKS_AT_ONCE + 3, 9, 13, generator=torch.Generator().manual_seed(0)) < 0.5
    expected = F.interpolate(masks.float()[None], (4, 6), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(resized(masks, (4, 6)), expected)
    assert resized(masks[:0], (4, 6)).shape == (0, 4, 6)


def test_a_batch_goes_to_another_process_as_one_tensor() -> None:
    nothing, labels = np.zeros((0, 3, 5), dtype=bool), np.zeros(0, dtype=np.int64)
    empty = PanopticTarget(nothing, labels, np.zeros((0, 4), dtype=np.float32), nothing, labels)
    images = [np.random.default_rng(0).random((3, 3, 5), dtype=np.float32), np.ones((3, 7, 9), dtype=np.float32)]
    batch = collate(images, [empty, halves(7, 9)], [4, 2], "decoupled", THINGS)
    _, parts = batch.__reduce__()
    assert isinstance(parts, tuple)
    assert [type(part) for part in parts].count(torch.Tensor) == 1
    found = pickle.loads(pickle.dumps(batch))
    assert (found.image_sizes, found.image_ids) == (batch.image_sizes, batch.image_ids)
    assert torch.equal(found.images, batch.images)
    for one, other in zip(found.targets, batch.targets, strict=True):
        for name, value in vars(other).items():
            assert vars(one)[name].dtype == value.dtype
            assert torch.equal(vars(one)[name], value)
