"""What one forward pass of training sees: pictures of one padded size with their targets, as tensors."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

MASKS_AT_ONCE = 16

Sizes = tuple[tuple[int, int], ...]
"""(height, width) of every picture."""


@dataclass(frozen=True)
class Target:
    """Ground truth of one picture, padded to the batch's (H, W) and held as tensors.

    What the network's queries shall find (the things; with joint matching things and stuff) comes apart from the
    stuff that has queries of its own. Places are relative to the unpadded picture.
    """

    query_masks: Tensor  # (M, H, W) bool
    query_labels: Tensor  # (M,) int64, things before stuff
    query_boxes: Tensor  # (M, 4) float32 cxcywh
    query_centres: Tensor  # (M, 2) float32 xy, centres of mass
    stuff_masks: Tensor  # (U, H, W) bool
    stuff_labels: Tensor  # (U,) int64, 0 = first stuff class


@dataclass(frozen=True)
class Batch:
    """Normalised pictures (B, 3, H, W), zero outside `image_sizes` (height, width), and their targets."""

    images: Tensor
    image_sizes: Sizes
    targets: tuple[Target, ...]
    image_ids: tuple[int, ...]


def resized(masks: Tensor, shape: tuple[int, int]) -> Tensor:
    """Masks (M, H, W) bool to (M, *shape) float32, bilinearly; a few at once, as floats take four times the memory."""
    if not len(masks):
        return masks.new_zeros(0, *shape, dtype=torch.float)
    parts = torch.split(masks[:, None], MASKS_AT_ONCE)
    return torch.cat([F.interpolate(part.float(), shape, mode="bilinear", align_corners=False)[:, 0] for part in parts])
