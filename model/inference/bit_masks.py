"""Masks at the size of their image: where they are, and which of them owns a pixel."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]
CHUNK = 4  # masks resized at a time: keeps the full-size floats in the processor's cache
_WORD = 64
# Times this number, the lowest bits of a word's eight bytes come together in its highest byte, the first lowest.
_GATHER = 0x0102040810204080


@dataclass(frozen=True)
class BitMasks:
    """Masks of one size on the host, a bit a pixel: an eighth of the memory and of the way from the device."""

    words: npt.NDArray[np.uint64]  # (N, ceil(H * W / 64)) row by row, lowest bit first; the last word is filled with 0
    size: Size

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, positions: npt.NDArray[np.int64]) -> "BitMasks":
        return BitMasks(self.words[positions], self.size)

    @classmethod
    def of(cls, masks: Tensor) -> "BitMasks":
        """Of masks (N, H, W) bool on any device."""
        height, width = masks.shape[-2:]
        padded = F.pad(masks.flatten(1), (0, -height * width % _WORD))
        return cls(_packed(padded).numpy(force=True).view(np.uint64), (height, width))

    def areas(self) -> npt.NDArray[np.int64]:
        """Pixels of each mask (N,)."""
        return areas(self.words)

    def unpack(self) -> npt.NDArray[np.bool_]:
        """(N, H, W)."""
        return unpack(self.words, self.size)


def areas(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Bits that are set in the last axis."""
    counted: npt.NDArray[np.int64] = np.bitwise_count(words).sum(-1, dtype=np.int64)
    return counted


def unpack(words: npt.NDArray[np.uint64], size: Size) -> npt.NDArray[np.bool_]:
    """Packed pixels (..., W) of `BitMasks` to (..., height, width)."""
    bits = np.unpackbits(words.view(np.uint8), axis=-1, count=size[0] * size[1], bitorder="little")
    return bits.view(np.bool_).reshape(*words.shape[:-1], *size)


def segment_masks(masks: Tensor, size: Size, threshold: float) -> tuple[BitMasks, Tensor]:
    """Resize masks (N, h, w) and cut them at the threshold.

    Returns:
        Where each mask is above the threshold, and its quality (N,) on the host: the sum of its values there, over
        their number plus one.
    """
    pixels = size[0] * size[1]
    padded = pixels + -pixels % _WORD
    packed = torch.empty(len(masks), padded // 8, dtype=torch.uint8, device=masks.device)
    sums = masks.new_empty(len(masks))
    inside = torch.zeros(min(CHUNK, len(masks)), padded, dtype=torch.bool, device=masks.device)
    for part, values in resized(masks, size):
        values, above = values.flatten(1), inside[: len(values)]
        torch.gt(values, threshold, out=above[:, :pixels])
        packed[part] = _packed(above)
        sums[part] = F.threshold(values, threshold, 0.0).sum(1)
    found = BitMasks(packed.numpy(force=True).view(np.uint64), size)
    return found, sums.cpu() / (torch.from_numpy(found.areas()) + 1)


def _packed(masks: Tensor) -> Tensor:
    """Bools (N, X) in bytes of eight (N, X / 8) uint8, the first the lowest bit."""
    return ((masks.view(torch.int64) * _GATHER) >> 56).to(torch.uint8)


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
