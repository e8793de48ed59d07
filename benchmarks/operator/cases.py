"""What `benchmarks.operator` runs: shapes, seeded operands, and every implementation that is importable."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor
from transformers.models.deformable_detr.modeling_deformable_detr import MultiScaleDeformableAttention

from model.ops import backends
from model.ops.ms_deform_attn import level_starts, ms_deform_attn

_COCO = ((100, 167), (50, 84), (25, 42), (13, 21))
_MINI = ((16, 20), (8, 10), (4, 5))


@dataclass(frozen=True)
class Case:
    """Sizes of one call; 0 queries stand for one of every token, as in an encoder."""

    shapes: tuple[tuple[int, int], ...]
    batch: int
    queries: int
    heads: int
    channels: int
    points: int
    title: str = ""


CASES: Mapping[str, Case] = MappingProxyType(
    {
        "encoder": Case(_COCO, 1, 0, 8, 32, 4, "Encoder, 800 x 1333 pixels"),
        "encoder-2": Case(_COCO, 2, 0, 8, 32, 4, "Encoder, two images of 800 x 1333 pixels"),
        "decoder": Case(_COCO, 1, 300, 8, 32, 4, "Decoder, 300 queries, 800 x 1333 pixels"),
        "mini": Case(_MINI, 4, 0, 4, 16, 4, "Encoder of the embedded dataset, four images of 128 x 160 pixels"),
    }
)
_HUGGING_FACE = "transformers"


def names_for(device: str, dtype: str) -> list[str]:
    """The implementations that run on a device with values of a type, the reference first.

    Not Hugging Face's on a CPU but in float32: torch's grid_sample of bfloat16, on which it stands there, reads outside
    its memory (torch 2.13, in the decoder case at once).
    """
    ours = [name for name in backends.BACKENDS if backends.why_not(name, device) is None]
    theirs = [_HUGGING_FACE] if device != "cpu" or dtype == "float32" else []
    return [*sorted(ours, key=lambda name: name != "reference"), *theirs]


@dataclass(frozen=True)
class Run:
    """One implementation on its operands."""

    name: str
    device: str
    dtype: str
    operands: tuple[Tensor, Tensor, Tensor]
    grad: Tensor
    attend: Callable[[Tensor, Tensor, Tensor], Tensor]

    def step(self, what: str) -> None:
        """`forward`, or `both`: forward and backward."""
        if what == "forward":
            with torch.no_grad():
                self.attend(*self.operands)
        else:
            torch.autograd.grad(self.attend(*self.operands), self.operands, self.grad)


def make_run(case: Case, device: str, dtype: str, name: str) -> Run:
    """Operands like those of a trained encoder: places around the query's own, some pixels away.

    As under autocast, only the value has another type than float32; Hugging Face's takes one type for all.
    """
    generator = torch.Generator().manual_seed(0)
    kind = cast(torch.dtype, getattr(torch, dtype))
    tokens = sum(height * width for height, width in case.shapes)
    centers = torch.cat([_centers(*shape) for shape in case.shapes])
    if case.queries:
        centers = torch.rand(case.queries, 2, generator=generator)
    size = case.batch, len(centers), case.heads, len(case.shapes), case.points
    pixels = torch.tensor([(1 / width, 1 / height) for height, width in case.shapes])[:, None]
    places = centers[:, None, None, None] + 2 * torch.randn(*size, 2, generator=generator) * pixels
    weights = torch.rand(size, generator=generator).flatten(3).softmax(-1).view(size)
    value = torch.randn(case.batch, tokens, case.heads, case.channels, generator=generator)
    others = kind if name == _HUGGING_FACE else torch.float32
    operands = value.to(device, kind), places.to(device, others), weights.to(device, others)
    grad = torch.randn(case.batch, len(centers), case.heads * case.channels, generator=generator).to(device, kind)
    value, places, weights = (operand.requires_grad_() for operand in operands)
    attend = _hugging_face(case, device) if name == _HUGGING_FACE else _ours(case, name)
    return Run(name, device, dtype, (value, places, weights), grad, attend)


def _centers(height: int, width: int) -> Tensor:
    rows, columns = (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).flatten(0, 1)


def _ours(case: Case, name: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    starts = level_starts(case.shapes)

    def attend(value: Tensor, places: Tensor, weights: Tensor) -> Tensor:
        with backends.using(name):
            return ms_deform_attn(value, case.shapes, starts, places, weights)

    return attend


def _hugging_face(case: Case, device: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    module = MultiScaleDeformableAttention()
    shapes = torch.tensor(case.shapes, device=device)
    starts = torch.tensor(level_starts(case.shapes), device=device)

    def attend(value: Tensor, places: Tensor, weights: Tensor) -> Tensor:
        return cast(Tensor, module(value, shapes, list(case.shapes), starts, places, weights, 64))

    return attend
