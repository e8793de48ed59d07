"""Masks at the size of their picture: where they are, and which of them owns a pixel."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]
CHUNK = 4  # masks resized at a time: keeps the full-size floats in the processor's cache


def segment_masks(masks: Tensor, size: Size, threshold: float) -> tuple[Tensor, Tensor]:
    """Resize masks (N, h, w) and cut them at the threshold.

    Returns:
        Where each mask is above the threshold (N, H, W) bool, and its quality (N,): the sum of its values
        there, over their number plus one.
    """
    segmented = torch.empty((len(masks), *size), dtype=torch.bool, device=masks.device)
    quality = masks.new_empty(len(masks))
    for part, values in resized(masks, size):
        torch.gt(values, threshold, out=segmented[part])
        inside = (values * segmented[part]).flatten(1).sum(1)
        quality[part] = inside / (segmented[part].flatten(1).sum(1) + 1)
    return segmented, quality


def pixel_owners(masks: Tensor, weights: Tensor | None, order: Sequence[int], size: Size, threshold: float) -> Tensor:
    """The mask that each pixel belongs to, by an argmax as in DETR or, with weights, in MaskFormer.

    Args:
        masks: (N, h, w) not negative.
        weights: None gives a pixel to the mask of the highest value there; with class probabilities (N,) it goes
            to the highest product of probability and value, a value above 1 counting as 1.
        order: positions of the masks that take part; of equal ones the first owns the pixel.
        size: (height, width) that the masks are resized to.
        threshold: a pixel where the value of its mask is not above it belongs to nobody.

    Returns:
        (H, W) int64 positions in `masks`, -1 for nobody.
    """
    best = masks.new_full(size, -1.0)
    owners = torch.full(size, -1, dtype=torch.int64, device=masks.device)
    taking_part = masks.new_tensor(order, dtype=torch.int64)
    for part, values in resized(masks[taking_part], size):
        positions = taking_part[part]
        ranks = values if weights is None else values.clamp(max=1) * weights[positions, None, None]
        for position, rank, inside in zip(positions, ranks, values > threshold, strict=True):
            better = rank > best
            best = torch.where(better, rank, best)
            owners = torch.where(better, torch.where(inside, position, -1), owners)
    return owners


def resized(masks: Tensor, size: Size) -> Iterator[tuple[slice, Tensor]]:
    """Masks (N, h, w) at another size, a few at a time: which they are, and their values (n, H, W)."""
    for start in range(0, len(masks), CHUNK):
        part = slice(start, start + CHUNK)
        yield part, F.interpolate(masks[None, part], size=size, mode="bilinear", align_corners=False)[0]
