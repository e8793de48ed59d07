"""The loss functions against values computed by hand or by a definition written out here."""

import math

import pytest
import torch
import torch.nn.functional as F

from model.boxes import cxcywh_to_xyxy, generalized_iou, xyxy_to_cxcywh
from model.training.losses import (
    box_giou_loss,
    box_l1_loss,
    dice_loss,
    enlarged_dice_loss,
    pixel_loss,
    sigmoid_focal_loss,
)


@pytest.mark.parametrize(("logit", "target"), [(2.0, 1.0), (2.0, 0.0), (-3.0, 1.0), (0.0, 0.0)])
def test_focal_loss_is_its_definition(logit: float, target: float) -> None:
    probability = 1 / (1 + math.exp(-logit))
    right = probability if target else 1 - probability
    weight = 0.25 if target else 0.75
    expected = -weight * (1 - right) ** 2 * math.log(right)
    loss = sigmoid_focal_loss(torch.tensor([logit]), torch.tensor([target]))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("size", [(5, 7), (1, 4), (2, 1)])
def test_dice_is_that_of_the_enlarged_masks(size: tuple[int, int]) -> None:
    """Values and gradients, with borders and single pixels, against masks that are enlarged in fact."""
    generator = torch.Generator().manual_seed(0)
    large = 2 * size[0], 2 * size[1]
    masks = (3 * torch.rand(2, 3, *size, generator=generator, dtype=torch.float64)).requires_grad_()
    ground_truth = torch.rand(3, *large, generator=generator, dtype=torch.float64)
    enlarged = F.interpolate(masks, large, mode="bilinear", align_corners=False)
    overlap = (enlarged * ground_truth).sum((-2, -1))
    expected = 1 - 2 * overlap / (enlarged.square().sum((-2, -1)) + ground_truth.square().sum((-2, -1)) + 2e-6)
    found = enlarged_dice_loss(masks, ground_truth)
    torch.testing.assert_close(found, expected)
    weights = torch.rand(2, 3, generator=generator, dtype=torch.float64)
    ours, theirs = (torch.autograd.grad((weights * losses).sum(), masks)[0] for losses in (found, expected))
    torch.testing.assert_close(ours, theirs)


def test_dice_of_empty_masks_is_finite() -> None:
    assert torch.isfinite(enlarged_dice_loss(torch.zeros(1, 1, 2, 2), torch.zeros(1, 4, 4))).all()
    assert enlarged_dice_loss(torch.zeros(3, 0, 2, 2), torch.zeros(0, 4, 4)).shape == (3, 0)


def test_dice_by_hand() -> None:
    """Half the segment, at full and at half the value."""
    ground_truth = torch.tensor([[[1.0, 1], [0, 0]]]).expand(3, 2, 2)
    masks = torch.tensor([[[1.0, 1], [0, 0]], [[1, 0], [0, 0]], [[0.5, 0], [0, 0]]])
    expected = [0, 1 - 2 / 3, 1 - 1 / 2.25]
    assert dice_loss(masks, ground_truth).tolist() == pytest.approx(expected, abs=1e-5)
    assert dice_loss(torch.zeros(0, 2, 2), torch.zeros(0, 2, 2)).shape == (0,)


def test_pixel_loss_by_hand() -> None:
    """A segment of a quarter of the image, of which nothing is known, weighs its mean over the image twice."""
    ground_truth = torch.tensor([[[1.0, 0], [0, 0]], [[1.0, 1], [1, 1]], [[0, 0], [0, 0]]])
    found = pixel_loss(torch.zeros(3, 2, 2), ground_truth)
    assert found.tolist() == pytest.approx([2 * math.log(2), math.log(2), 2 * math.log(2)])
    assert pixel_loss(torch.zeros(0, 2, 2), torch.zeros(0, 2, 2)).shape == (0,)


def test_giou_by_hand() -> None:
    """Two unit squares one unit apart: IoU 0, hull 3, union 2."""
    first, second = torch.tensor([0.0, 0, 1, 1]), torch.tensor([2.0, 0, 3, 1])
    assert generalized_iou(first, second).item() == pytest.approx(-1 / 3, abs=1e-5)
    assert generalized_iou(first, first).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("image_size", [4_000, 60_000])
def test_giou_of_the_smallest_boxes_depends_on_their_overlap_alone(image_size: int) -> None:
    """Boxes of 3 and 1 pixels, perfect, and 3 pixels moved by one: overlap 6, union and hull 12 pixels."""
    perfect = torch.tensor([[100.0, 200, 103, 203], [100, 200, 101, 201], [100, 200, 103, 203]], dtype=torch.float64)
    predicted = perfect + torch.tensor([0, 0, 1.0])[:, None] * torch.tensor([1.0, 0, 1, 0])
    found = generalized_iou(predicted / image_size, perfect / image_size)
    assert found.tolist() == pytest.approx([1, 1, 0.5], abs=1e-8)
    single = xyxy_to_cxcywh(perfect.float() / image_size)
    assert box_giou_loss(single, single).tolist() == [0, 0, 0]


def test_giou_of_boxes_without_area_is_finite() -> None:
    point = torch.tensor([0.5, 0.5, 0.0, 0.0], requires_grad=True)
    loss = box_giou_loss(point, point.detach())
    (gradient,) = torch.autograd.grad(loss, point)
    assert loss.item() == 1
    assert torch.isfinite(gradient).all()


def test_box_losses_vanish_only_for_equal_boxes() -> None:
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.4], [0.3, 0.6, 0.1, 0.1]])
    moved = boxes + 0.05
    assert box_l1_loss(boxes, boxes).tolist() == [0, 0]
    assert box_l1_loss(boxes, moved).tolist() == pytest.approx([0.2, 0.2])
    assert box_giou_loss(boxes, boxes).tolist() == pytest.approx([0, 0], abs=1e-5)
    assert (box_giou_loss(boxes, moved) > 0.05).all()


def test_box_conversions_are_inverse() -> None:
    boxes = torch.rand(5, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(xyxy_to_cxcywh(cxcywh_to_xyxy(boxes)), boxes)
