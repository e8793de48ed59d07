"""Multi-scale deformable attention: every query sums a few bilinear samples of every feature level.

Operator of Deformable DETR (Zhu et al., ICLR 2021, equation 3), on which the paper's encoder and location
decoder rest.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def ms_deform_attn(
    value: Tensor,
    spatial_shapes: tuple[tuple[int, int], ...],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Plain torch, by `grid_sample`.

    Args:
        value: (B, S, H, D) projected tokens of all levels, H heads.
        spatial_shapes: (height, width) of each of the L levels; their areas add up to S.
        sampling_locations: (B, Q, H, L, P, 2) xy, 0..1 over the whole level; what lies outside counts as zero.
        attention_weights: (B, Q, H, L, P).

    Returns:
        (B, Q, H * D), in the type of the sampling locations.
    """
    batch, _, heads, dim = value.shape
    queries = sampling_locations.shape[1]
    # Copied to (L, BH, P, Q, ...): grid_sample is twice as fast on a contiguous grid on a CPU.
    grids = (2 * sampling_locations - 1).permute(3, 0, 2, 4, 1, 5).flatten(1, 2).contiguous()
    weights = attention_weights.permute(3, 0, 2, 4, 1).flatten(1, 2).contiguous()
    tokens = value.to(grids.dtype).permute(0, 2, 3, 1).flatten(0, 1)  # (BH, D, S)
    levels = torch.split(tokens, [height * width for height, width in spatial_shapes], dim=-1)
    summed = tokens.new_zeros(batch * heads, dim, queries)
    for level, grid, weight, (height, width) in zip(levels, grids, weights, spatial_shapes, strict=True):
        samples = F.grid_sample(
            level.reshape(batch * heads, dim, height, width),
            grid,
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
        )  # (BH, D, P, Q)
        summed = summed + (samples * weight[:, None]).sum(2)
    return summed.view(batch, heads * dim, queries).transpose(1, 2)
