"""What one forward pass of training sees: pictures of one padded size with their targets, as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from model.boxes import xyxy_to_cxcywh
from panoptic.target import PanopticTarget


@dataclass(frozen=True)
class Target:
    """Ground truth of one picture, padded to the batch's (H, W) and held as tensors."""

    thing_masks: Tensor  # (T, H, W) float32, 0 or 1
    thing_labels: Tensor  # (T,) int64
    thing_boxes: Tensor  # (T, 4) float32 cxcywh relative to the unpadded picture
    stuff_masks: Tensor  # (U, H, W) float32, 0 or 1
    stuff_labels: Tensor  # (U,) int64, 0 = first stuff class


@dataclass(frozen=True)
class Batch:
    """Normalised pictures (B, 3, H, W), zero outside `image_sizes` (height, width), and their targets."""

    images: Tensor
    image_sizes: tuple[tuple[int, int], ...]
    targets: tuple[Target, ...]
    image_ids: tuple[int, ...]

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`."""
        targets = tuple(
            Target(**{name: value.to(device, non_blocking=True) for name, value in vars(target).items()})
            for target in self.targets
        )
        return replace(self, images=self.images.to(device, non_blocking=True), targets=targets)


def collate(images: Sequence[np.ndarray], targets: Sequence[PanopticTarget], image_ids: Sequence[int]) -> Batch:
    """Pad (3, h, w) pictures and their targets on the right and below to the largest size among them."""
    sizes = tuple((image.shape[1], image.shape[2]) for image in images)
    height, width = max(h for h, _ in sizes), max(w for _, w in sizes)
    padded = torch.zeros(len(images), 3, height, width)
    for slot, image, (h, w) in zip(padded, images, sizes, strict=True):
        slot[:, :h, :w] = torch.from_numpy(image)
    tensors = tuple(to_tensors(target, size, (height, width)) for target, size in zip(targets, sizes, strict=True))
    return Batch(padded, sizes, tensors, tuple(image_ids))


def to_tensors(target: PanopticTarget, size: tuple[int, int], padded: tuple[int, int]) -> Target:
    """Turn the target of a picture of `size` (h, w) into tensors, masks padded to `padded` (H, W)."""
    height, width = size
    xyxy = torch.from_numpy(target.thing_boxes_xyxy) / torch.tensor([width, height, width, height])
    return Target(
        thing_masks=_pad(target.thing_masks, padded),
        thing_labels=torch.from_numpy(target.thing_labels),
        thing_boxes=xyxy_to_cxcywh(xyxy),
        stuff_masks=_pad(target.stuff_masks, padded),
        stuff_labels=torch.from_numpy(target.stuff_labels),
    )


def _pad(masks: np.ndarray, padded: tuple[int, int]) -> Tensor:
    result = torch.zeros(len(masks), *padded)
    result[:, : masks.shape[1], : masks.shape[2]] = torch.from_numpy(masks)
    return result
