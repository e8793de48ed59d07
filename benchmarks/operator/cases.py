"""Shapes, seeded operands and importable implementations of deformable attention."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor
from transformers.models.deformable_detr.modeling_deformable_detr import MultiScaleDeformableAttention

from model.ops import backends
from model.ops.ms_deform_attn import level_starts, ms_deform_attn

COCO_LEVELS = ((100, 167), (50, 84), (25, 42), (13, 21))
_MINI = ((16, 20), (8, 10), (4, 5))


@dataclass(frozen=True)
class Case:
    """Sizes of one call; 0 queries mean one for every token, as in an encoder."""

    shapes: tuple[tuple[int, int], ...]
    batch: int
    queries: int
    heads: int
    channels: int
    points: int
    title: str = ""


CASES: Mapping[str, Case] = MappingProxyType(
    {
        "encoder": Case(COCO_LEVELS, 1, 0, 8, 32, 4, "Encoder, 800 x 1333 pixels"),
        "encoder-2": Case(COCO_LEVELS, 2, 0, 8, 32, 4, "Encoder, two images of 800 x 1333 pixels"),
        "decoder": Case(COCO_LEVELS, 1, 300, 8, 32, 4, "Decoder, 300 queries, 800 x 1333 pixels"),
        "mini": Case(_MINI, 4, 0, 4, 16, 4, "Encoder of the embedded dataset, four images of 128 x 160 pixels"),
    }
)
_HUGGING_FACE = "transformers"


def implementations(device: str, dtype: str) -> list[str]:
    """List the implementations that run on a device with values of a type, the reference first.

    Hugging Face's runs on a CPU in float32 only: it builds on torch's grid_sample, which reads outside its memory in
    bfloat16 there (torch 2.13; the decoder case shows it at once).
    """
    ours = [name for name in backends.BACKENDS if backends.why_not(name, device) is None]
    theirs = [_HUGGING_FACE] if device != "cpu" or dtype == "float32" else []
    return [*sorted(ours, key=lambda name: name != "reference"), *theirs]


@dataclass(frozen=True)
class AttentionCall:
    """One implementation with its operands."""

    name: str
    device: str
    dtype: str
    operands: tuple[Tensor, Tensor, Tensor]
    grad: Tensor
    attend: Callable[[Tensor, Tensor, Tensor], Tensor]

    def run(self, passes: str) -> None:
        """Run the pass `forward`, or `both`: forward and backward."""
        if passes == "forward":
            with torch.no_grad():
                self.attend(*self.operands)
        else:
            torch.autograd.grad(self.attend(*self.operands), self.operands, self.grad)


def make_call(case: Case, device: str, dtype: str, name: str) -> AttentionCall:
    """Give an implementation operands of a case.

    As under autocast, only the value has another type than float32; Hugging Face's code takes one type for all.
    """
    value_type = cast(torch.dtype, getattr(torch, dtype))
    other_type = value_type if name == _HUGGING_FACE else torch.float32
    value, locations, weights = (operand.to(device) for operand in draw_operands(case))
    operands = value.to(value_type), locations.to(other_type), weights.to(other_type)
    for operand in operands:
        operand.requires_grad_()
    shape = case.batch, locations.shape[1], case.heads * case.channels
    grad = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(device, value_type)
    attend = _hugging_face(case, device) if name == _HUGGING_FACE else _ours(case, name)
    return AttentionCall(name, device, dtype, operands, grad, attend)


def draw_operands(case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """Draw seeded values, sampling locations and attention weights in float32.

    As in a trained encoder, locations are some pixels around each query's reference point.
    """
    generator = torch.Generator().manual_seed(0)
    tokens = sum(height * width for height, width in case.shapes)
    centers = torch.cat([_centers(*shape) for shape in case.shapes])
    if case.queries:
        centers = torch.rand(case.queries, 2, generator=generator)
    size = case.batch, len(centers), case.heads, len(case.shapes), case.points
    pixels = torch.tensor([(1 / width, 1 / height) for height, width in case.shapes])[:, None]
    locations = centers[:, None, None, None] + 2 * torch.randn(*size, 2, generator=generator) * pixels
    weights = torch.rand(size, generator=generator).flatten(3).softmax(-1).view(size)
    value = torch.randn(case.batch, tokens, case.heads, case.channels, generator=generator)
    return value, locations, weights


def _centers(height: int, width: int) -> Tensor:
    rows, columns = (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).flatten(0, 1)


def _ours(case: Case, name: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    starts = level_starts(case.shapes)

    def attend(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        with backends.using(name):
            return ms_deform_attn(value, case.shapes, starts, locations, weights)

    return attend


def _hugging_face(case: Case, device: str) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    module = MultiScaleDeformableAttention()
    shapes = torch.tensor(case.shapes, device=device)
    starts = torch.tensor(level_starts(case.shapes), device=device)

    def attend(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        return cast(Tensor, module(value, shapes, list(case.shapes), starts, locations, weights, 64))

    return attend
