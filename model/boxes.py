"""Axis-aligned boxes: conversions and generalized IoU (Rezatofighi et al., CVPR 2019)."""

import torch
from torch import Tensor


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Convert boxes (..., 4) from center x, center y, width, height to left, top, right, bottom."""
    center, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat([center - size / 2, center + size / 2], -1)


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """Convert boxes (..., 4) from left, top, right, bottom to center x, center y, width, height."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) / 2, high - low], -1)


# Bounds denominators from below. Boxes are fractions of the image: a pixel in 60 000 x 60 000 has an area of 3e-10.
_LEAST_AREA = 1e-12


def generalized_iou(first: Tensor, second: Tensor) -> Tensor:
    """Compute the GIoU, in [-1, 1], of broadcastable xyxy boxes (..., 4); 0 for two boxes at one point."""
    intersection = _area(torch.maximum(first[..., :2], second[..., :2]), torch.minimum(first[..., 2:], second[..., 2:]))
    union = _area(first[..., :2], first[..., 2:]) + _area(second[..., :2], second[..., 2:]) - intersection
    hull = _area(torch.minimum(first[..., :2], second[..., :2]), torch.maximum(first[..., 2:], second[..., 2:]))
    union, hull = union.clamp(min=_LEAST_AREA), hull.clamp(min=_LEAST_AREA)
    return intersection / union - (hull - union) / hull


def _area(low: Tensor, high: Tensor) -> Tensor:
    return (high - low).clamp(min=0).prod(-1)
