"""Roofline on paper: what has to move and to be computed, and the time that an H200 needs for it at the least."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from benchmarks.operator.cases import Case
from model.complexity.counts import meta_network
from model.complexity.operators import FLOPS_OF_A_MAC, SAMPLE_MACS
from model.network.config import NetworkConfig
from model.ops import backends
from model.published.models import COCO_STUFF, COCO_THINGS

DATA_SHEET = "https://www.nvidia.com/en-us/data-center/h200/"
"""NVIDIA's figures of the H200 SXM; those of tensor cores are printed with sparsity, and dense is half of it."""
BYTES_PER_SECOND = 4.8e12
FLOPS_PER_SECOND = {"float32": 67e12, "bfloat16": 989e12}
"""float32 outside tensor cores; bfloat16 in them, dense."""
ELEMENT_BYTES = {"float32": 4, "bfloat16": 2}
BACKWARD_SAMPLE_MACS = 9
"""Per sampled number: its gradient times its weight, products of that with four neighbors, and four shares added."""
ADAMW_BYTES = 7 * 4
"""Per trainable parameter: it, its gradient and two moments are read in float32, and all but the gradient written."""


@dataclass(frozen=True)
class Bound:
    """Work of one call in bytes and FLOPs, and the FLOP/s of the units that compute it."""

    bytes: int
    flops: int
    rate: float

    @property
    def intensity(self) -> float:
        """FLOPs per byte."""
        return self.flops / self.bytes

    @property
    def limit(self) -> str:
        """What takes the longer."""
        return "memory" if self.bytes / BYTES_PER_SECOND > self.flops / self.rate else "FLOPs"

    @property
    def milliseconds(self) -> float:
        """Time of that, as if the other were hidden behind it."""
        return 1000 * max(self.bytes / BYTES_PER_SECOND, self.flops / self.rate)

    def cells(self) -> list[str]:
        """Return the cells of a table under `BOUND_HEADER`."""
        bound = f"{self.milliseconds:.3f} ({self.limit})"
        return [f"{self.bytes / 1e6:.1f}", f"{self.flops / 1e9:.2f}", f"{self.intensity:.1f}", bound]


BOUND_HEADER = ("MB", "GFLOP", "FLOP per byte", "bound on an H200, ms")


def operator_bound(case: Case, precision: str, backward: bool) -> Bound:
    """Count deformable attention: every operand read once and every result written once, in each pass.

    Locations and weights are float32 in any precision, and the arithmetic is outside tensor cores.
    """
    tokens = sum(height * width for height, width in case.shapes)
    queries = case.queries or tokens
    points = case.batch * queries * case.heads * len(case.shapes) * case.points
    value, output = (case.batch * rows * case.heads * case.channels for rows in (tokens, queries))
    inputs = value * ELEMENT_BYTES[precision] + points * 3 * ELEMENT_BYTES["float32"]
    results = output * ELEMENT_BYTES[precision]
    moved = inputs + results + (2 * inputs + results if backward else 0)
    macs = points * case.channels * (SAMPLE_MACS + (BACKWARD_SAMPLE_MACS if backward else 0))
    return Bound(moved, FLOPS_OF_A_MAC * macs, FLOPS_PER_SECOND["float32"])


def network_bound(config: NetworkConfig, size: tuple[int, int], batch: int, precision: str, train: bool) -> Bound:
    """Count the network on images of (height, width): inference, or a training step with the update of AdamW.

    Bytes are those of the operands and results of every convolution, matrix product and sampling, as if all between
    two of them were fused into them. Matching and losses are left out.
    """
    numbers, flops, trained = _count(config, size, batch, train)
    moved = numbers * ELEMENT_BYTES[precision] + trained * ADAMW_BYTES
    return Bound(moved, flops, FLOPS_PER_SECOND[precision])


@cache
def _count(config: NetworkConfig, size: tuple[int, int], batch: int, train: bool) -> tuple[int, int, int]:
    """Count numbers that move, FLOPs and updated parameters of a network that is never computed."""
    network = meta_network(config, COCO_THINGS, COCO_STUFF).train(train)
    images = torch.zeros(batch, 3, *size, device="meta")
    moved = FlopCounterMode(display=False, custom_mapping={**dict.fromkeys(flop_registry, _numbers), **_SAMPLED})
    flops = FlopCounterMode(display=False, custom_mapping=_SAMPLING)
    with moved, flops, sdpa_kernel(SDPBackend.MATH), backends.using("reference"):
        output = network.segment(images, auxiliary=train)
        if train:
            torch.autograd.backward([tensor.sum() for tensor in _tensors(output) if tensor.requires_grad])
    trained = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad) if train else 0
    return moved.get_total_flops(), flops.get_total_flops(), trained


def _numbers(*arguments: object, out_shape: object = None, **_options: object) -> int:
    leaves = tree_leaves((arguments, out_shape), is_leaf=_is_size)
    return sum(leaf.numel() for leaf in leaves if isinstance(leaf, torch.Size))


def _is_size(value: object) -> bool:
    return isinstance(value, torch.Size)


def _sampled_numbers(*arguments: object, **_options: object) -> int:
    return _numbers(*arguments)  # samples are summed where they are read


def _sampled_backward_numbers(_: object, *arguments: object, out_shape: object = None, **_options: object) -> int:
    return _numbers(*arguments, out_shape=out_shape)


def _sampling_flops(*_arguments: object, out_shape: object = None, **_options: object) -> int:
    return FLOPS_OF_A_MAC * SAMPLE_MACS * _numbers(out_shape)


def _sampling_backward_flops(gradient: object, *_arguments: object, **_options: object) -> int:
    return FLOPS_OF_A_MAC * BACKWARD_SAMPLE_MACS * _numbers(gradient)


_SAMPLED = {
    torch.ops.aten.grid_sampler_2d: _sampled_numbers,
    torch.ops.aten.grid_sampler_2d_backward: _sampled_backward_numbers,
}
_SAMPLING = {
    torch.ops.aten.grid_sampler_2d: _sampling_flops,
    torch.ops.aten.grid_sampler_2d_backward: _sampling_backward_flops,
}


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif is_dataclass(value):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
