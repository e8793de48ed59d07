"""Multi-scale deformable attention by the CUDA kernel of mmcv 2, where that is installed.

It computes in the type of the value; bfloat16 and float16 go through float32, as everywhere here.
"""

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

from model.ops.backends import Gradients, compute_type
from model.ops.operands import require_operands

_IMAGES_AT_ONCE = 64  # at most; the number of images has to be a multiple


def unavailable() -> str | None:
    """Reason why it cannot run here; None where it can."""
    if not torch.cuda.is_available():
        return "there is no CUDA device"
    try:
        extension = _extension()
    except ImportError as error:
        return f"mmcv's compiled operators cannot be imported ({error})"
    return None if hasattr(extension, "ms_deform_attn_forward") else "mmcv was built without this operator"


def forward(
    value: Tensor,
    spatial_shapes: Sequence[Sequence[int]],
    level_start_index: Sequence[int],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """See `model.ops.ms_deform_attn.ms_deform_attn`."""
    require_operands(value, spatial_shapes, level_start_index, sampling_locations, attention_weights)
    operands = _operands(value, spatial_shapes, level_start_index, sampling_locations, attention_weights)
    if not value.numel() or not sampling_locations.numel():
        return value.new_zeros(value.shape[0], sampling_locations.shape[1], value.shape[2] * value.shape[3])
    out: Tensor = _extension().ms_deform_attn_forward(*operands, im2col_step=_step(value))
    return out.to(value.dtype)


def backward(
    grad: Tensor,
    value: Tensor,
    spatial_shapes: Sequence[Sequence[int]],
    level_start_index: Sequence[int],
    sampling_locations: Tensor,
    attention_weights: Tensor,
    deterministic: bool,
) -> Gradients:
    """Compute the gradients.

    Raises:
        RuntimeError: they have to be deterministic; this kernel adds them up in any order.
    """
    require_operands(value, spatial_shapes, level_start_index, sampling_locations, attention_weights, grad)
    if deterministic:
        raise RuntimeError("mmcv has no deterministic gradients of deformable attention; use another backend")
    operands = _operands(value, spatial_shapes, level_start_index, sampling_locations, attention_weights)
    gradients = [torch.zeros_like(operands[number]) for number in (0, 3, 4)]
    if value.numel() and sampling_locations.numel():
        grad = grad.to(operands[0].dtype).contiguous()
        _extension().ms_deform_attn_backward(*operands, grad, *gradients, im2col_step=_step(value))
    to_value, to_locations, to_weights = gradients
    return to_value.to(value.dtype), to_locations.to(sampling_locations.dtype), to_weights.to(attention_weights.dtype)


def _extension() -> ModuleType:
    return import_module("mmcv._ext")


def _operands(
    value: Tensor, shapes: Sequence[Sequence[int]], starts: Sequence[int], locations: Tensor, weights: Tensor
) -> tuple[Tensor, ...]:
    real, device = compute_type(value), value.device
    sizes = torch.tensor([list(shape) for shape in shapes], device=device), torch.tensor(list(starts), device=device)
    value, locations, weights = (tensor.to(real).contiguous() for tensor in (value, locations, weights))
    return value, *sizes, locations, weights


def _step(value: Tensor) -> int:
    batch = value.shape[0]
    return max(step for step in range(1, min(batch, _IMAGES_AT_ONCE) + 1) if batch % step == 0)
