"""Normalization of images for the network."""

from functools import cache

import torch
from torch import Tensor

IMAGE_MEAN = (123.675, 116.28, 103.53)
IMAGE_STD = (58.395, 57.12, 57.375)
"""Mean and standard deviation of ImageNet in RGB, 0..255, with which every published backbone was trained."""


def normalize(images: Tensor) -> Tensor:
    """Normalize images (B, H, W, 3) uint8 RGB to (B, 3, H, W) float32 by ImageNet's statistics, on their device."""
    mean, deviation = image_statistics(images.device)
    return images.permute(0, 3, 1, 2).contiguous().float().sub_(mean).div_(deviation)


@cache
def image_statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and deviation (3, 1, 1), copied to a device only once: each copy would wait for all work queued there."""
    mean, deviation = (torch.tensor(values, device=device)[:, None, None] for values in (IMAGE_MEAN, IMAGE_STD))
    return mean, deviation
