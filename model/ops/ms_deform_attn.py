"""Multi-scale deformable attention: every query sums a few bilinear samples of every feature level.

Operator of Deformable DETR (Zhu et al., ICLR 2021, equation 3), on which the paper's encoder and location
decoder rest. `torch.ops.panoptic.ms_deform_attn` is the same for programs that are compiled or exported.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from model.ops import backends, reference
from model.ops.operands import Shapes, level_starts, require_operands

__all__ = ["level_starts", "ms_deform_attn"]


def ms_deform_attn(
    value: Tensor,
    spatial_shapes: Shapes | Tensor,
    level_start_index: Sequence[int] | Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Sample and sum with the fastest backend for the device (`model.ops.backends`).

    Args:
        value: (B, S, H, D) projected tokens of all levels, H heads; float32, float64, bfloat16 or float16.
        spatial_shapes: (L, 2) height and width of each level. Numbers, or a tensor, which is read at the price
            of a GPU synchronization.
        level_start_index: (L,) the first token of each level; see `level_starts`.
        sampling_locations: (B, Q, H, L, P, 2) xy, 0..1 over the whole level; samples outside count as zero, and
            so do NaN locations.
        attention_weights: (B, Q, H, L, P).

    Returns:
        (B, Q, H * D), in the type of the value. Sums are kept in float32, those of float64 in float64.

    Raises:
        ValueError: the operands do not fit each other, or the levels do not fill the value one after the other.
    """
    shapes = spatial_shapes.tolist() if isinstance(spatial_shapes, Tensor) else spatial_shapes
    starts = level_start_index.tolist() if isinstance(level_start_index, Tensor) else level_start_index
    if backends.plain():
        return reference.forward(value, shapes, starts, sampling_locations, attention_weights)
    flat = [size for shape in shapes for size in shape]
    result: Tensor = _forward(value, flat, starts, sampling_locations, attention_weights)
    return result


class _Context(Protocol):
    """State of the forward pass that the gradients need."""

    shapes: Sequence[int]
    starts: Sequence[int]
    saved_tensors: tuple[Tensor, ...]

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Keep tensors as `saved_tensors`."""


def _pairs(flat: Sequence[int]) -> list[tuple[int, int]]:
    if len(flat) % 2:
        raise ValueError(f"spatial_shapes has {len(flat)} numbers; expected height and width of each level")
    return list(zip(flat[::2], flat[1::2], strict=True))


@torch.library.custom_op("panoptic::ms_deform_attn", mutates_args=())
def _forward(
    value: Tensor,
    spatial_shapes: Sequence[int],
    level_start_index: Sequence[int],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    backend = backends.load(backends.choose(value.device.type))
    return backend.forward(value, _pairs(spatial_shapes), level_start_index, sampling_locations, attention_weights)


@torch.library.custom_op("panoptic::ms_deform_attn_backward", mutates_args=())
def _backward(
    grad: Tensor,
    value: Tensor,
    spatial_shapes: Sequence[int],
    level_start_index: Sequence[int],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    return backends.load(backends.choose(value.device.type)).backward(
        grad,
        value,
        _pairs(spatial_shapes),
        level_start_index,
        sampling_locations,
        attention_weights,
        deterministic=torch.are_deterministic_algorithms_enabled(),
    )


@_forward.register_fake
def _(
    value: Tensor, spatial_shapes: Sequence[int], level_start_index: Sequence[int], locations: Tensor, weights: Tensor
) -> Tensor:
    require_operands(value, _pairs(spatial_shapes), level_start_index, locations, weights)
    return value.new_empty(value.shape[0], locations.shape[1], value.shape[2] * value.shape[3])


@_backward.register_fake
def _(
    grad: Tensor,
    value: Tensor,
    spatial_shapes: Sequence[int],
    level_start_index: Sequence[int],
    locations: Tensor,
    weights: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    require_operands(value, _pairs(spatial_shapes), level_start_index, locations, weights, grad)
    return value.new_empty(value.shape), locations.new_empty(locations.shape), weights.new_empty(weights.shape)


def _save(ctx: _Context, inputs: tuple[Tensor, Sequence[int], Sequence[int], Tensor, Tensor], output: Tensor) -> None:
    value, ctx.shapes, ctx.starts, locations, weights = inputs
    ctx.save_for_backward(value, locations, weights)


def _differentiate(ctx: _Context, grad: Tensor) -> tuple[Tensor, None, None, Tensor, Tensor]:
    value, locations, weights = ctx.saved_tensors
    to_value, to_locations, to_weights = _backward(grad, value, ctx.shapes, ctx.starts, locations, weights)
    return to_value, None, None, to_locations, to_weights


_forward.register_autograd(_differentiate, setup_context=_save)
