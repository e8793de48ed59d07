"""The loss functions against values computed by hand or by a definition written out here."""

import math

import pytest
import torch

from model.boxes import cxcywh_to_xyxy, generalised_iou, xyxy_to_cxcywh
from model.training.losses import box_giou_loss, box_l1_loss, dice_loss, sigmoid_focal_loss


@pytest.mark.parametrize(("logit", "target"), [(2.0, 1.0), (2.0, 0.0), (-3.0, 1.0), (0.0, 0.0)])
def test_focal_loss_is_its_definition(logit: float, target: float) -> None:
    probability = 1 / (1 + math.exp(-logit))
    right = probability if target else 1 - probability
    weight = 0.25 if target else 0.75
    expected = -weight * (1 - right) ** 2 * math.log(right)
    loss = sigmoid_focal_loss(torch.tensor([logit]), torch.tensor([target]))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_dice_loss_is_zero_for_equal_masks_and_one_for_disjoint_ones() -> None:
    mask = torch.zeros(2, 4, 4)
    mask[0, :2] = 1
    mask[1, 2:] = 1
    assert dice_loss(mask, mask).tolist() == pytest.approx([0, 0], abs=1e-5)
    assert dice_loss(mask, mask.flip(0)).tolist() == pytest.approx([1, 1], abs=1e-5)


def test_dice_loss_of_two_empty_masks_is_finite() -> None:
    assert torch.isfinite(dice_loss(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2))).all()


def test_giou_by_hand() -> None:
    """Two unit squares one unit apart: IoU 0, hull 3, union 2."""
    first, second = torch.tensor([0.0, 0, 1, 1]), torch.tensor([2.0, 0, 3, 1])
    assert generalised_iou(first, second).item() == pytest.approx(-1 / 3, abs=1e-5)
    assert generalised_iou(first, first).item() == pytest.approx(1, abs=1e-5)


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
