"""Micro-batches of training: images padded to one size with their targets, as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.boxes import xyxy_to_cxcywh
from model.pixels import normalize
from panoptic.data.reader import Sample
from panoptic.data.target import PanopticTarget, make_target, segment_moments
from panoptic.format.categories import CategoryTable
from panoptic.format.image_id import ImageId

MASKS_AT_ONCE = 16
ALIGNMENT = 8
"""Alignment of packed tensors in bytes: the size of the widest number."""
_TABLES = ("query_labels", "query_boxes", "query_moments", "stuff_labels")
"""Fields of a `Target` that are packed unchanged."""

Sizes = tuple[tuple[int, int], ...]
"""(height, width) of every image."""
Layout = tuple[tuple[torch.dtype, tuple[int, ...]], ...]
"""Types and shapes of tensors that are packed into one."""


@dataclass(frozen=True)
class Target:
    """Ground truth of one image as tensors, padded to the batch's (H, W).

    Segments for the network's matched queries (things; with joint matching things and stuff) are kept apart from stuff
    that has queries of its own. Boxes and moments are relative to the unpadded image.
    """

    query_masks: Tensor  # (M, H, W) bool
    query_labels: Tensor  # (M,) int64, things before stuff
    query_boxes: Tensor  # (M, 4) float32 cxcywh
    query_moments: Tensor  # (M, 3) float32 xy, area: center of mass, and area as a fraction of the image's
    stuff_masks: Tensor  # (U, H, W) bool
    stuff_labels: Tensor  # (U,) int64, 0 = first stuff class


@dataclass(frozen=True)
class Batch:
    """Normalized images (B, 3, H, W), zero outside their `image_sizes`, and their targets."""

    images: Tensor
    image_sizes: Sizes
    targets: tuple[Target, ...]
    image_ids: tuple[ImageId, ...]


def resized(masks: Tensor, shape: tuple[int, int]) -> Tensor:
    """Resize masks (M, H, W) bool bilinearly to (M, *shape) float32; a few at a time, as floats take more memory."""
    if not len(masks):
        return masks.new_zeros(0, *shape, dtype=torch.float)
    parts = torch.split(masks[:, None], MASKS_AT_ONCE)
    return torch.cat([F.interpolate(part.float(), shape, mode="bilinear", align_corners=False)[:, 0] for part in parts])


@dataclass(frozen=True)
class PackedBatch:
    """A batch packed for transfer: 5 bytes per pixel instead of 12 and one more for every segment."""

    data: Tensor  # (N,) uint8
    layout: Layout
    image_sizes: Sizes
    image_ids: tuple[ImageId, ...]

    def pin_memory(self) -> "PackedBatch":
        """Copy the data to page-locked memory, from which a GPU reads asynchronously; called by the DataLoader."""
        return replace(self, data=self.data.pin_memory())

    def to(self, device: torch.device) -> Batch:
        """Unpack the batch on `device`, which does the work."""
        images, maps, *tables = unpack(self.data.to(device, non_blocking=True), self.layout)
        normalized = normalize(images)
        for image, (height, width) in zip(normalized, self.image_sizes, strict=True):
            image[:, height:], image[:, :, width:] = 0, 0
        targets = map(_target, maps, zip(*[iter(tables)] * len(_TABLES), strict=True))
        return Batch(normalized, self.image_sizes, tuple(targets), self.image_ids)


def _target(segments: Tensor, tables: Sequence[Tensor]) -> Target:
    """Make the target of a map (H, W) int16 of segments, those for the queries first."""
    named = dict(zip(_TABLES, tables, strict=True))
    queries, stuff = len(named["query_labels"]), len(named["stuff_labels"])
    ids = torch.arange(1, queries + stuff + 1, dtype=segments.dtype, device=segments.device)
    masks = segments == ids[:, None, None]
    return Target(query_masks=masks[:queries], stuff_masks=masks[queries:], **named)


def collate(samples: Sequence[Sample], categories: CategoryTable, stuff: str) -> PackedBatch:
    """Pad augmented samples and their targets on the right and at the bottom to the largest size, and pack them.

    Args:
        samples: images with their segments.
        categories: of the segments.
        stuff: `NetworkConfig.stuff_queries`.
    """
    sizes = tuple((sample.record.height, sample.record.width) for sample in samples)
    padded = len(samples), max(height for height, _ in sizes), max(width for _, width in sizes)
    targets = [make_target(sample, categories) for sample in samples]
    tables = [table for target in targets for table in _tables(target, len(categories.things), stuff)]
    layout: Layout = (
        (torch.uint8, (*padded, 3)),
        (torch.int16, padded),
        *((table.dtype, tuple(table.shape)) for table in tables),
    )
    data = allocate(layout)
    images, maps, *destinations = unpack(data, layout)
    for sample, target, image, segments in zip(samples, targets, images, maps, strict=True):
        _put(sample.image, image)
        _put(target.segments, segments)
    for destination, table in zip(destinations, tables, strict=True):
        destination.copy_(table)
    return PackedBatch(data, layout, sizes, tuple(sample.record.image_id for sample in samples))


def _put(values: np.ndarray, destination: Tensor) -> None:
    """Copy values into the upper left corner and zero the rest."""
    height, width = values.shape[:2]
    destination[:height, :width] = torch.from_numpy(values)
    destination[height:], destination[:height, width:] = 0, 0


def _tables(target: PanopticTarget, thing_classes: int, stuff: str) -> tuple[Tensor, ...]:
    """Make the `_TABLES` of an image, which describe only the first segments: those that some query should find."""
    height, width = target.segments.shape
    queries = len(target.labels) if stuff == "joint" else target.things
    boxes = target.boxes_xyxy[:queries]
    xyxy = torch.from_numpy(boxes) / torch.tensor([width, height, width, height])
    extent = torch.tensor([width, height, width * height])
    moments = torch.from_numpy(segment_moments(target.segments, boxes)) / extent
    labels = torch.from_numpy(target.labels)
    stuff_labels = labels[target.things :] - thing_classes if stuff == "decoupled" else labels[:0]
    return labels[:queries], xyxy_to_cxcywh(xyxy), moments, stuff_labels


def allocate(layout: Layout) -> Tensor:
    """Allocate uninitialized memory (N,) uint8 on the CPU for the tensors of a layout."""
    return torch.empty(sum(map(_aligned, map(_bytes, layout))), dtype=torch.uint8)


def unpack(data: Tensor, layout: Layout) -> list[Tensor]:
    """Return the tensors of a layout as views of `data`."""
    tensors, start = [], 0
    for dtype, shape in layout:
        size = _bytes((dtype, shape))
        tensors.append(data[start : start + size].view(dtype).view(shape))
        start += _aligned(size)
    return tensors


def _bytes(tensor: tuple[torch.dtype, tuple[int, ...]]) -> int:
    dtype, shape = tensor
    return torch.Size(shape).numel() * dtype.itemsize


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
