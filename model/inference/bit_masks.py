"""Masks at the size of their image: packed into bits, and compared pixel by pixel."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]
CHUNK = 4  # masks resized at a time: keeps the full-size floats in the processor's cache
CHUNK_PIXELS = 2**22  # and never more than this, but for a single mask of a larger image
_WORD = 64
# Multiplied by this number, a word gathers the lowest bits of its eight bytes in its highest byte, the first lowest.
_GATHER = 0x0102040810204080


@dataclass(frozen=True)
class BitMasks:
    """Masks of one size on the host, one bit per pixel: an eighth of the memory and of the transfer."""

    words: npt.NDArray[np.uint64]  # (N, ceil(H * W / 64)) row by row, lowest bit first; the last word is filled with 0
    size: Size

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, indices: npt.NDArray[np.int64]) -> "BitMasks":
        return BitMasks(self.words[indices], self.size)

    @classmethod
    def of(cls, masks: Tensor) -> "BitMasks":
        """Pack masks (N, H, W) bool of any device."""
        height, width = masks.shape[-2:]
        padded = F.pad(masks.flatten(1), (0, -height * width % _WORD))
        return cls(_packed(padded).numpy(force=True).view(np.uint64), (height, width))

    def areas(self) -> npt.NDArray[np.int64]:
        """Count the pixels of each mask (N,)."""
        return areas(self.words)

    def unpack(self) -> npt.NDArray[np.bool_]:
        """Unpack to (N, H, W)."""
        return unpack(self.words, self.size)


@dataclass(frozen=True)
class MapMasks:
    """Masks of segments in the map of an image, made on request: of a large image, all would not fit in memory."""

    ids: npt.NDArray[np.int32]  # (H, W)
    members: npt.NDArray[np.int32]  # (N,) ids of the segments

    @property
    def size(self) -> Size:
        """(height, width) of each mask."""
        return self.ids.shape[0], self.ids.shape[1]

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, indices: npt.NDArray[np.int64]) -> BitMasks:
        return BitMasks.of(torch.from_numpy(self.ids == self.members[indices, None, None]))

    def unpack(self) -> npt.NDArray[np.bool_]:
        """Make all of them (N, H, W)."""
        masks: npt.NDArray[np.bool_] = self.ids == self.members[:, None, None]
        return masks


def unpack_each(masks: BitMasks | MapMasks) -> Iterator[npt.NDArray[np.bool_]]:
    """Unpack one mask (H, W) after the other: all of a large image do not fit in memory."""
    return (masks[np.array([index])].unpack()[0] for index in range(len(masks)))


def areas(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Count the bits that are set along the last axis."""
    counted: npt.NDArray[np.int64] = np.bitwise_count(words).sum(-1, dtype=np.int64)
    return counted


def unpack(words: npt.NDArray[np.uint64], size: Size) -> npt.NDArray[np.bool_]:
    """Unpack the words (..., W) of `BitMasks` to (..., height, width)."""
    bits = np.unpackbits(words.view(np.uint8), axis=-1, count=size[0] * size[1], bitorder="little")
    return bits.view(np.bool_).reshape(*words.shape[:-1], *size)


def segment_masks(masks: Tensor, size: Size, threshold: float) -> tuple[BitMasks, Tensor]:
    """Resize masks (N, h, w) and threshold them.

    Returns:
        Where each mask is above the threshold, and its quality (N,) on the host: the sum of its values there, divided
        by their number plus one.
    """
    pixels = size[0] * size[1]
    padded = pixels + -pixels % _WORD
    packed = torch.empty(len(masks), padded // 8, dtype=torch.uint8, device=masks.device)
    sums = masks.new_empty(len(masks))
    inside = torch.zeros(min(_chunk(size), len(masks)), padded, dtype=torch.bool, device=masks.device)
    for part, values in resized(masks, size):
        values, above = values.flatten(1), inside[: len(values)]
        torch.gt(values, threshold, out=above[:, :pixels])
        packed[part] = _packed(above)
        sums[part] = F.threshold(values, threshold, 0.0).sum(1)
    found = BitMasks(packed.numpy(force=True).view(np.uint64), size)
    return found, sums.cpu() / (torch.from_numpy(found.areas()) + 1)


def _packed(masks: Tensor) -> Tensor:
    """Pack bools (N, X) into bytes (N, X / 8) uint8, lowest bit first."""
    return ((masks.view(torch.int64) * _GATHER) >> 56).to(torch.uint8)


def pixel_owners(masks: Tensor, weights: Tensor | None, order: Sequence[int], size: Size, threshold: float) -> Tensor:
    """Assign each pixel to a mask by an argmax.

    Args:
        masks: (N, h, w) not negative.
        weights: None assigns a pixel to the mask with the highest value there, as in DETR; with class probabilities
            (N,) it goes to the highest product of probability and value, as in MaskFormer; values above 1 count as 1.
        order: indices of the masks that take part; the first of equal ones wins.
        size: (height, width) that the masks are resized to.
        threshold: a pixel stays void unless the value of its mask is above it.

    Returns:
        (H, W) int64 indices of `masks`, -1 for void.
    """
    best = masks.new_full(size, -1.0)
    owners = torch.full(size, -1, dtype=torch.int64, device=masks.device)
    taking_part = torch.tensor(order, dtype=torch.int64).to(masks.device, non_blocking=True)
    for part, values in resized(masks[taking_part], size):
        indices = taking_part[part]
        ranks = values if weights is None else values.clamp(max=1) * weights[indices, None, None]
        for index, rank, inside in zip(indices, ranks, values > threshold, strict=True):
            better = rank > best
            best = torch.where(better, rank, best)
            owners = torch.where(better, torch.where(inside, index, -1), owners)
    return owners


def resized(masks: Tensor, size: Size) -> Iterator[tuple[slice, Tensor]]:
    """Resize masks (N, h, w) a few at a time; yield their slice of the masks and their values (n, H, W)."""
    step = _chunk(size)
    for start in range(0, len(masks), step):
        part = slice(start, start + step)
        yield part, F.interpolate(masks[None, part], size=size, mode="bilinear", align_corners=False)[0]


def _chunk(size: Size) -> int:
    return max(1, min(CHUNK, CHUNK_PIXELS // max(1, size[0] * size[1])))
