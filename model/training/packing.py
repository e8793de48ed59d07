"""Many tensors as one: handing a tensor to another process costs the two some 0.3 ms, however small it is."""

from collections.abc import Sequence

import torch
from torch import Tensor

ALIGNMENT = 8
"""Bytes: of the widest number."""

Layout = tuple[tuple[torch.dtype, tuple[int, ...]], ...]
"""Types and shapes of packed tensors."""


def pack(tensors: Sequence[Tensor]) -> tuple[Tensor, Layout]:
    """The bytes of tensors on the CPU, one after the other, (N,) uint8."""
    layout = tuple((tensor.dtype, tuple(tensor.shape)) for tensor in tensors)
    data = torch.empty(sum(_room(tensor.nbytes) for tensor in tensors), dtype=torch.uint8)
    for place, tensor in zip(unpack(data, layout), tensors, strict=True):
        place.copy_(tensor)
    return data, layout


def unpack(data: Tensor, layout: Layout) -> list[Tensor]:
    """The tensors that `pack` took, as views of its data."""
    tensors, start = [], 0
    for kind, shape in layout:
        size = torch.Size(shape).numel() * kind.itemsize
        tensors.append(data[start : start + size].view(kind).view(shape))
        start += _room(size)
    return tensors


def _room(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
