"""The loss functions of Panoptic SegFormer, as pure functions without reduction.

Sums, weights and normalizers belong to the criterion.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from model.boxes import cxcywh_to_xyxy, generalized_iou


def sigmoid_focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Compute the focal loss of every logit for 0/1 targets of the same shape (Lin et al., ICCV 2017)."""
    probability = logits.sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    miss = probability * (1 - targets) + (1 - probability) * targets
    weight = alpha * targets + (1 - alpha) * (1 - targets)
    return weight * miss.pow(gamma) * cross_entropy


def enlarged_dice_loss(masks: Tensor, targets: Tensor, eps: float = 1e-6) -> Tensor:
    """Compute 1 - Dice, with squared denominators, of non-negative masks at twice their size.

    The enlarged masks are never materialized. Bilinear upsampling is linear in rows and in columns: with E = (the
    upsampled identity), a mask m becomes E^T m, so that <E^T m, t> = <m, E t> and |E^T m|^2 = <m, E E^T m>. Everything
    is computed at the masks' own size, and E t is shared by all blocks.

    Args:
        masks: (K, M, h, w).
        targets: (M, 2h, 2w), shared by all K.
        eps: added to both squared norms.

    Returns:
        (K, M).
    """
    rows, columns = (_enlarged_identity(side, masks) for side in masks.shape[-2:])
    overlaps = torch.linalg.vecdot(masks.flatten(-2), (rows @ (targets @ columns.mT)).flatten(-2))
    with torch.no_grad():
        smoothed = (rows @ rows.mT) @ (masks @ (columns @ columns.mT))
    squares = torch.linalg.vecdot(masks.flatten(-2), smoothed.flatten(-2))
    squares = 2 * squares - squares.detach()  # the square, with its gradient, which is twice the smoothed masks
    losses: Tensor = 1 - 2 * overlaps / (squares + eps + targets.square().sum((-2, -1)) + eps)
    return losses


def dice_loss(masks: Tensor, targets: Tensor, eps: float = 1e-6) -> Tensor:
    """Compute 1 - Dice, with squared denominators, of masks and targets (M, h, w): (M,)."""
    overlaps = torch.linalg.vecdot(masks.flatten(-2), targets.flatten(-2))
    squares = masks.square().sum((-2, -1)) + targets.square().sum((-2, -1))
    losses: Tensor = 1 - 2 * overlaps / (squares + 2 * eps)
    return losses


def pixel_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute the cross-entropy of mask logits (M, h, w) with targets in 0..1: (M,).

    It is the mean over the image divided by the root of the segment's share of it: between the mean over the image,
    in which small segments count for nothing, and the mean over the segment, in which their surroundings count most.
    """
    losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean((-2, -1))
    share = targets.mean((-2, -1)).clamp(min=1 / targets[0].numel() if len(targets) else 1)
    return losses / share.sqrt()


def _enlarged_identity(side: int, like: Tensor) -> Tensor:
    """Upsample the identity: (side, 2 side), whose rows are the responses to one pixel each."""
    identity = torch.eye(side, dtype=like.dtype, device=like.device)[None]
    enlarged: Tensor = F.interpolate(identity, 2 * side, mode="linear", align_corners=False)[0]
    return enlarged


def box_l1_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """Sum the absolute differences of boxes (..., 4)."""
    return (boxes - targets).abs().sum(-1)


def box_giou_loss(boxes_cxcywh: Tensor, targets_cxcywh: Tensor) -> Tensor:
    """Compute 1 - GIoU of boxes (..., 4)."""
    return 1 - generalized_iou(cxcywh_to_xyxy(boxes_cxcywh), cxcywh_to_xyxy(targets_cxcywh))
