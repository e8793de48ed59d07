"""What one forward pass of training sees: pictures of one padded size with their targets, as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.boxes import xyxy_to_cxcywh
from model.training.packing import Layout, pack, unpack
from panoptic.mask_places import mask_boxes, mass_centres
from panoptic.target import PanopticTarget

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

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`."""
        targets = tuple(
            Target(**{name: value.to(device, non_blocking=True) for name, value in vars(target).items()})
            for target in self.targets
        )
        return replace(self, images=self.images.to(device, non_blocking=True), targets=targets)

    def __reduce__(self) -> tuple[object, ...]:
        """From a worker process as one tensor."""
        data, layout = pack([self.images, *(value for target in self.targets for value in vars(target).values())])
        return _unpacked, (data, layout, self.image_sizes, self.image_ids)


def _unpacked(data: Tensor, layout: Layout, image_sizes: Sizes, image_ids: tuple[int, ...]) -> Batch:
    images, *values = unpack(data, layout)
    by_picture = zip(*[iter(values)] * len(fields(Target)), strict=True)
    targets = tuple(Target(*of_picture) for of_picture in by_picture)
    return Batch(images, image_sizes, targets, image_ids)


def collate(
    images: Sequence[np.ndarray], targets: Sequence[PanopticTarget], image_ids: Sequence[int], stuff: str, things: int
) -> Batch:
    """Pad (3, h, w) pictures and their targets on the right and below to the largest size among them.

    Args:
        images: normalised.
        targets: of the pictures.
        image_ids: of the pictures.
        stuff: `NetworkConfig.stuff`, who shall find it.
        things: number of thing classes.
    """
    sizes = tuple((image.shape[1], image.shape[2]) for image in images)
    height, width = max(h for h, _ in sizes), max(w for _, w in sizes)
    padded = torch.zeros(len(images), 3, height, width)
    for slot, image, (h, w) in zip(padded, images, sizes, strict=True):
        slot[:, :h, :w] = torch.from_numpy(image)
    tensors = tuple(
        to_tensors(arrange(target, stuff, things), size, (height, width))
        for target, size in zip(targets, sizes, strict=True)
    )
    return Batch(padded, sizes, tensors, tuple(image_ids))


def arrange(target: PanopticTarget, stuff: str, things: int) -> PanopticTarget:
    """The target with its stuff as it is (`decoupled`), left out (`none`), or among the things (`joint`)."""
    if stuff == "decoupled":
        return target
    empty = replace(target, stuff_masks=target.stuff_masks[:0], stuff_labels=target.stuff_labels[:0])
    if stuff == "none":
        return empty
    boxes = mask_boxes(target.stuff_masks)
    return replace(
        empty,
        thing_masks=np.concatenate((target.thing_masks, target.stuff_masks)),
        thing_labels=np.concatenate((target.thing_labels, target.stuff_labels + things)),
        thing_boxes_xyxy=np.concatenate((target.thing_boxes_xyxy, boxes)),
    )


def to_tensors(target: PanopticTarget, size: tuple[int, int], padded: tuple[int, int]) -> Target:
    """Turn the target of a picture of `size` (h, w) into tensors, masks padded to `padded` (H, W)."""
    height, width = size
    xyxy = torch.from_numpy(target.thing_boxes_xyxy) / torch.tensor([width, height, width, height])
    return Target(
        query_masks=_pad(target.thing_masks, padded),
        query_labels=torch.from_numpy(target.thing_labels),
        query_boxes=xyxy_to_cxcywh(xyxy),
        query_centres=torch.from_numpy(mass_centres(target.thing_masks)) / torch.tensor([width, height]),
        stuff_masks=_pad(target.stuff_masks, padded),
        stuff_labels=torch.from_numpy(target.stuff_labels),
    )


def resized(masks: Tensor, shape: tuple[int, int]) -> Tensor:
    """Masks (M, H, W) bool to (M, *shape) float32, bilinearly; a few at once, as floats take four times the memory."""
    if not len(masks):
        return masks.new_zeros(0, *shape, dtype=torch.float)
    parts = torch.split(masks[:, None], MASKS_AT_ONCE)
    return torch.cat([F.interpolate(part.float(), shape, mode="bilinear", align_corners=False)[:, 0] for part in parts])


def _pad(masks: np.ndarray, padded: tuple[int, int]) -> Tensor:
    result = torch.zeros(len(masks), *padded, dtype=torch.bool)
    result[:, : masks.shape[1], : masks.shape[2]] = torch.from_numpy(masks)
    return result
