"""Multi-scale deformable attention on a CPU, by the compiled model/ops/_ms_deform_attn.cpp.

As many threads as torch has (`torch.set_num_threads`); their number changes no bit of the result.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from model.ops.backends import Gradients, compute_type
from model.ops.operands import require_operands

try:
    from model.ops import _ms_deform_attn
except ImportError as error:  # installed where there was no C++ compiler
    _MISSING: str | None = f"it was not compiled when the project was installed ({error})"
    PROCESSORS: tuple[str, ...] = ()
else:
    _MISSING = None
    PROCESSORS = tuple(_ms_deform_attn.processors())
    """Instruction sets that it is compiled for and this machine has; the last one is used."""


def unavailable() -> str | None:
    """Reason why it cannot run here; None where it can."""
    return _MISSING


def forward(
    value: Tensor,
    spatial_shapes: Sequence[Sequence[int]],
    level_start_index: Sequence[int],
    sampling_locations: Tensor,
    attention_weights: Tensor,
    processor: str | None = None,
) -> Tensor:
    """See `model.ops.ms_deform_attn.ms_deform_attn`; `processor` is one of `PROCESSORS`."""
    require_operands(value, spatial_shapes, level_start_index, sampling_locations, attention_weights)
    value, locations, weights = _contiguous(value, sampling_locations, attention_weights)
    out = value.new_empty(value.shape[0], locations.shape[1], value.shape[2] * value.shape[3])
    _ms_deform_attn.forward(
        _sizes(value, spatial_shapes, level_start_index, locations),
        _type_name(value),
        _buffer(value),
        _buffer(locations),
        _buffer(weights),
        _buffer(out),
        torch.get_num_threads(),
        processor or PROCESSORS[-1],
    )
    return out


def backward(
    grad: Tensor,
    value: Tensor,
    spatial_shapes: Sequence[Sequence[int]],
    level_start_index: Sequence[int],
    sampling_locations: Tensor,
    attention_weights: Tensor,
    deterministic: bool,
    processor: str | None = None,
) -> Gradients:
    """Compute the gradients, which are deterministic in any case."""
    require_operands(value, spatial_shapes, level_start_index, sampling_locations, attention_weights, grad)
    types = sampling_locations.dtype, attention_weights.dtype
    value, locations, weights = _contiguous(value, sampling_locations, attention_weights)
    grad = grad.to(value.dtype).contiguous()
    to_value, to_locations, to_weights = (torch.empty_like(tensor) for tensor in (value, locations, weights))
    _ms_deform_attn.backward(
        _sizes(value, spatial_shapes, level_start_index, locations),
        _type_name(value),
        _buffer(grad),
        _buffer(value),
        _buffer(locations),
        _buffer(weights),
        _buffer(to_value),
        _buffer(to_locations),
        _buffer(to_weights),
        torch.get_num_threads(),
        processor or PROCESSORS[-1],
    )
    return to_value, to_locations.to(types[0]), to_weights.to(types[1])


def _contiguous(value: Tensor, locations: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    real = compute_type(value)
    return value.contiguous(), locations.to(real).contiguous(), weights.to(real).contiguous()


def _sizes(
    value: Tensor, spatial_shapes: Sequence[Sequence[int]], level_start_index: Sequence[int], locations: Tensor
) -> "_ms_deform_attn.Sizes":
    batch, tokens, heads, channels = value.shape
    levels = [(height, width, start) for (height, width), start in zip(spatial_shapes, level_start_index, strict=True)]
    return _ms_deform_attn.Sizes(batch, tokens, locations.shape[1], heads, channels, locations.shape[4], levels)


def _buffer(tensor: Tensor) -> tuple[int, int]:
    """Address of a contiguous tensor, and how many numbers it has, which must be as many as the sizes say."""
    return tensor.data_ptr(), tensor.numel()


def _type_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
