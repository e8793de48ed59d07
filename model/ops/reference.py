"""Multi-scale deformable attention in plain torch, by `grid_sample`: the specification of every other backend.

Operator of Deformable DETR (Zhu et al., ICLR 2021, equation 3). It runs on every device and traces to plain torch
operators with symbolic sizes.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from model.ops.backends import Gradients, compute_type
from model.ops.operands import require_operands


def unavailable() -> str | None:
    """Return None: it runs everywhere."""
    return None


def forward(
    value: Tensor,
    spatial_shapes: Sequence[Sequence[int]],
    level_start_index: Sequence[int],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """See `model.ops.ms_deform_attn.ms_deform_attn`; differentiable by torch itself."""
    require_operands(value, spatial_shapes, level_start_index, sampling_locations, attention_weights)
    batch, _, heads, channels = value.shape
    queries = sampling_locations.shape[1]
    real = compute_type(value)
    grids, weights = _by_level(real, sampling_locations, attention_weights)
    summed = value.new_zeros(batch * heads, channels, queries, dtype=real)
    for grid, weight, (height, width), start in zip(grids, weights, spatial_shapes, level_start_index, strict=True):
        tokens = value.narrow(1, start, height * width).to(real).permute(0, 2, 3, 1)
        samples = F.grid_sample(
            tokens.reshape(batch * heads, channels, height, width),
            grid,
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
        )  # (BH, D, P, Q)
        summed = summed + (samples * weight[:, None]).sum(2)
    return summed.view(batch, heads * channels, queries).transpose(1, 2).to(value.dtype).contiguous()


def backward(
    grad: Tensor,
    value: Tensor,
    spatial_shapes: Sequence[Sequence[int]],
    level_start_index: Sequence[int],
    sampling_locations: Tensor,
    attention_weights: Tensor,
    deterministic: bool,
) -> Gradients:
    """Compute the gradients of `forward` without autograd, which is not available inside a custom operator.

    Determinism is up to torch, which raises where it cannot provide it.
    """
    require_operands(value, spatial_shapes, level_start_index, sampling_locations, attention_weights, grad)
    batch, _, heads, channels = value.shape
    grids, weights = _by_level(compute_type(value), sampling_locations, attention_weights)
    by_head = grad.to(weights.dtype).view(*sampling_locations.shape[:2], heads, channels)
    slopes = by_head.permute(0, 2, 3, 1).flatten(0, 1)[:, :, None]
    to_value = torch.empty_like(value)
    to_locations, to_weights = torch.empty_like(sampling_locations), torch.empty_like(attention_weights)
    for level, ((height, width), start) in enumerate(zip(spatial_shapes, level_start_index, strict=True)):
        tokens = value.narrow(1, start, height * width).to(weights.dtype).permute(0, 2, 3, 1)
        pixels = tokens.reshape(batch * heads, channels, height, width)
        samples = F.grid_sample(pixels, grids[level], padding_mode="zeros", align_corners=False)
        to_pixels, to_grid = torch.ops.aten.grid_sampler_2d_backward(
            slopes * weights[level][:, None], pixels, grids[level], 0, 0, False, [True, True]
        )  # 0, 0: bilinear, zeros outside
        to_value.narrow(1, start, height * width).copy_(to_pixels.reshape(tokens.shape).permute(0, 3, 1, 2))
        to_locations[:, :, :, level] = 2 * to_grid.view(batch, heads, *to_grid.shape[1:]).permute(0, 3, 1, 2, 4)
        to_weight = (samples * slopes).sum(1)
        to_weights[:, :, :, level] = to_weight.view(batch, heads, *to_weight.shape[1:]).permute(0, 3, 1, 2)
    return to_value, to_locations, to_weights


def _by_level(real: torch.dtype, locations: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Copy to (L, BH, P, Q, ...): on a CPU grid_sample is twice as fast on a contiguous grid."""
    # A NaN location is outside, as in the CUDA kernel of Deformable DETR; grid_sample would return NaN.
    normalized = (2 * locations.to(real) - 1).nan_to_num(nan=-3.0, posinf=-3.0, neginf=-3.0)
    grids = normalized.permute(3, 0, 2, 4, 1, 5).flatten(1, 2).contiguous()
    return grids, weights.to(real).permute(3, 0, 2, 4, 1).flatten(1, 2).contiguous()
