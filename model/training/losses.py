"""The loss functions of Panoptic SegFormer, as pure functions that keep every element apart.

Sums, weights and normalisers belong to the criterion.
"""

import torch.nn.functional as F
from torch import Tensor

from model.boxes import cxcywh_to_xyxy, generalised_iou


def sigmoid_focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss of every logit against 0/1 targets of the same shape (Lin et al., ICCV 2017)."""
    probability = logits.sigmoid()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    miss = probability * (1 - targets) + (1 - probability) * targets
    weight = alpha * targets + (1 - alpha) * (1 - targets)
    return weight * miss.pow(gamma) * cross_entropy


def dice_loss(masks: Tensor, targets: Tensor, eps: float = 1e-6) -> Tensor:
    """1 - Dice with squared denominators of (..., H, W) non-negative masks; returns (...)."""
    masks, targets = masks.flatten(-2), targets.flatten(-2)
    overlap = 2 * (masks * targets).sum(-1)
    return 1 - overlap / (masks.square().sum(-1) + eps + targets.square().sum(-1) + eps)


def box_l1_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """Sum of absolute differences of (..., 4) boxes."""
    return (boxes - targets).abs().sum(-1)


def box_giou_loss(boxes_cxcywh: Tensor, targets_cxcywh: Tensor) -> Tensor:
    """1 - GIoU of (..., 4) boxes."""
    return 1 - generalised_iou(cxcywh_to_xyxy(boxes_cxcywh), cxcywh_to_xyxy(targets_cxcywh))
