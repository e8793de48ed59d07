"""The full count of multiply-adds: every convolution and matrix product, attention included, and the sampling."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from model.ops import backends

FLOPS_OF_A_MAC = 2  # torch counts the multiplication and the addition
SAMPLE_MACS = 5
"""Multiply-adds per value that deformable attention samples: four neighbors, and its weight in the sum."""


@dataclass(frozen=True)
class OperatorCounts:
    """Multiply-adds by part of the network."""

    products: Counter[str] = field(default_factory=Counter)  # convolutions and matrix products
    sampling: Counter[str] = field(default_factory=Counter)  # of deformable attention


@contextmanager
def counting_operators(network: nn.Module) -> Iterator[OperatorCounts]:
    """Count the forward passes of the whole network in the block; the counts are complete at its end.

    Attention runs as plain products and sampling meanwhile: the counter does not know every fused kernel.
    """
    counts = OperatorCounts()
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.grid_sampler_2d: _sampling_flops})
    with counter, sdpa_kernel(SDPBackend.MATH), backends.using("reference"):
        yield counts
    by_module = counter.get_flop_counts()
    for part, _ in network.named_children():
        for operator, flops in by_module.get(f"{type(network).__name__}.{part}", {}).items():
            chosen = counts.sampling if operator == torch.ops.aten.grid_sampler_2d else counts.products
            chosen[part] += flops // FLOPS_OF_A_MAC


def _sampling_flops(*_arguments: object, out_shape: object = None, **_options: object) -> int:
    values = torch.Size(cast("list[int]", out_shape)).numel()
    return values * SAMPLE_MACS * FLOPS_OF_A_MAC
