"""Axis-aligned boxes: conversions and generalised IoU (Rezatofighi et al., CVPR 2019)."""

import torch
from torch import Tensor


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Turn (..., 4) boxes centre x, centre y, width, height into left, top, right, bottom."""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat([centre - size / 2, centre + size / 2], -1)


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """Turn (..., 4) boxes left, top, right, bottom into centre x, centre y, width, height."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) / 2, high - low], -1)


def generalised_iou(first: Tensor, second: Tensor, eps: float = 1e-6) -> Tensor:
    """GIoU of broadcastable (..., 4) xyxy boxes, in [-1, 1]; `eps` bounds the two denominators from below."""
    intersection = _area(torch.maximum(first[..., :2], second[..., :2]), torch.minimum(first[..., 2:], second[..., 2:]))
    union = _area(first[..., :2], first[..., 2:]) + _area(second[..., :2], second[..., 2:]) - intersection
    hull = _area(torch.minimum(first[..., :2], second[..., :2]), torch.maximum(first[..., 2:], second[..., 2:]))
    union, hull = union.clamp(min=eps), hull.clamp(min=eps)
    return intersection / union - (hull - union) / hull


def mask_boxes(masks: Tensor) -> Tensor:
    """The smallest xyxy boxes (N, 4) float32 in pixels around the set pixels of masks (N, H, W); 0 where none is."""
    sides = [_extent(masks.bool().any(axis)) for axis in (1, 2)]
    return torch.stack([sides[0][0], sides[1][0], sides[0][1], sides[1][1]], -1)


def mass_centres(masks: Tensor) -> Tensor:
    """Centres of mass (N, 2) float32 xy in pixels of masks (N, H, W); 0 where no pixel is set."""
    area = masks.flatten(1).sum(1).clamp(min=1)
    centres = []
    for axis in (1, 2):
        profile = masks.sum(axis).float()
        places = torch.arange(profile.shape[1], device=masks.device) + 0.5
        centres.append((profile * places).sum(1) / area)
    return torch.stack(centres, -1)


def _extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
    """First set place of rows (N, X) bool, and the place after the last; both 0 where none is set."""
    places = torch.arange(occupied.shape[1], device=occupied.device)
    end = torch.where(occupied, places + 1, 0).amax(1)
    first = torch.where(occupied, places, occupied.shape[1]).amin(1)
    return torch.minimum(first, end).float(), end.float()


def _area(low: Tensor, high: Tensor) -> Tensor:
    return (high - low).clamp(min=0).prod(-1)
