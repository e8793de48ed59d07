"""From the bytes of images to what networks are given."""

from functools import cache

import torch
from torch import Tensor

IMAGE_MEAN = (123.675, 116.28, 103.53)
IMAGE_STD = (58.395, 57.12, 57.375)
"""Mean and deviation of ImageNet in RGB on 0..255, with which every published backbone was trained."""


def normalize(images: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 RGB to (B, 3, H, W) float32 with zero mean and unit deviation on ImageNet, on their device."""
    mean, deviation = _statistics(images.device)
    return images.permute(0, 3, 1, 2).contiguous().float().sub_(mean).div_(deviation)


@cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and deviation (3, 1, 1), brought to a device once: a transfer from here would wait for all work there."""
    mean, deviation = (torch.tensor(values, device=device)[:, None, None] for values in (IMAGE_MEAN, IMAGE_STD))
    return mean, deviation
