"""Multi-scale deformable attention on a CPU, by the compiled model/ops/_ms_deform_attn.cpp.

As many threads as torch has (`torch.set_num_threads`); their number changes no bit of the result.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from model.ops.backends import Gradients, compute_type

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
    value, locations, weights = _contiguous(value, sampling_locations, attention_weights)
    out = value.new_empty(value.shape[0], locations.shape[1], value.shape[2] * value.shape[3])
    _ms_deform_attn.forward(
        _sizes(value, spatial_shapes, level_start_index, locations),
        _type_name(value),
        value.data_ptr(),
        locations.data_ptr(),
        weights.data_ptr(),
        out.data_ptr(),
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
    types = sampling_locations.dtype, attention_weights.dtype
    value, locations, weights = _contiguous(value, sampling_locations, attention_weights)
    grad = grad.to(value.dtype).contiguous()
    covered = sum(height * width for height, width in spatial_shapes)
    # Tokens of no level get no gradient; in the usual case there are none and every number is written.
    to_value = torch.empty_like(value) if covered == value.shape[1] else torch.zeros_like(value)
    to_locations, to_weights = torch.empty_like(locations), torch.empty_like(weights)
    _ms_deform_attn.backward(
        _sizes(value, spatial_shapes, level_start_index, locations),
        _type_name(value),
        grad.data_ptr(),
        value.data_ptr(),
        locations.data_ptr(),
        weights.data_ptr(),
        to_value.data_ptr(),
        to_locations.data_ptr(),
        to_weights.data_ptr(),
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


def _type_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
