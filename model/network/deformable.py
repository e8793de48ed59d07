"""The deformable attention layer of encoder and location decoder (Deformable DETR, section 4.1)."""

import math

import torch
from torch import Tensor, nn

from model.network.config import NetworkConfig
from model.network.outputs import Shapes
from model.ops.ms_deform_attn import level_starts, ms_deform_attn


class DeformableAttention(nn.Module):
    """Attention whose queries predict, per head and level, a few sampling points and the weight of each."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.heads, self.levels, self.points = config.heads, config.levels, config.points
        samples = self.heads * self.levels * self.points
        self.sampling_offsets = nn.Linear(config.channels, samples * 2)
        self.attention_weights = nn.Linear(config.channels, samples)
        self.value_proj = nn.Linear(config.channels, config.channels)
        self.output_proj = nn.Linear(config.channels, config.channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialize to equal weights on a ring: head h samples in direction h, point p at distance p + 1 pixels."""
        angles = torch.arange(self.heads, dtype=torch.float32) * (2 * math.pi / self.heads)
        ring = torch.stack((angles.cos(), angles.sin()), dim=-1)
        ring = ring / ring.abs().amax(-1, keepdim=True)
        distance = torch.arange(1, self.points + 1, dtype=torch.float32)
        offsets = ring[:, None, None] * distance[:, None]
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.expand(-1, self.levels, -1, -1).flatten())
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for linear in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(
        self,
        queries: Tensor,
        references: Tensor,
        tokens: Tensor,
        padding_mask: Tensor | None,
        spatial_shapes: Shapes,
    ) -> Tensor:
        """Sample the tokens around the reference points.

        Args:
            queries: (B, Q, C) with position.
            references: (B, Q, L, 2) points or (B, Q, L, 4) boxes cxcywh, 0..1 of the padded level.
            tokens: (B, S, C) without position.
            padding_mask: (B, S), True for tokens whose value is zero to all queries; None if there are none.
            spatial_shapes: (height, width) of the L levels.

        Returns:
            (B, Q, C), without the residual.
        """
        value = self.value_proj(tokens)
        if padding_mask is not None:
            value = value.masked_fill(padding_mask[..., None], 0.0)
        value = value.view(queries.shape[0], -1, self.heads, value.shape[-1] // self.heads)
        locations, weights = self.sampling_points(queries, references, spatial_shapes)
        sampled = ms_deform_attn(value, spatial_shapes, level_starts(spatial_shapes), locations, weights)
        attended: Tensor = self.output_proj(sampled)
        return attended

    def sampling_points(self, queries: Tensor, references: Tensor, spatial_shapes: Shapes) -> tuple[Tensor, Tensor]:
        """Predict points (B, Q, heads, L, P, 2), xy of 0..1, and their weights (B, Q, heads, L, P); see `forward`.

        The weights of a head sum to 1.
        """
        batch, count, _ = queries.shape
        offsets = self.sampling_offsets(queries).view(batch, count, self.heads, self.levels, self.points, 2)
        weights = self.attention_weights(queries).view(batch, count, self.heads, -1).softmax(-1)
        weights = weights.view(batch, count, self.heads, self.levels, self.points)
        if references.shape[-1] == 2:  # offsets are in pixels of the level
            sides = [references.new_full((), side) for shape in spatial_shapes for side in reversed(shape)]
            unit = 1 / torch.stack(sides).view(1, 1, -1, 2)
        else:  # offsets are in fractions of half the box
            unit = references[..., 2:] * (0.5 / self.points)
        return self._per_point(references[..., :2]) + offsets * self._per_point(unit), weights

    def _per_point(self, values: Tensor) -> Tensor:
        """Repeat (B, Q, L, 2) to (B, Q, 1, L, P, 2), contiguous: arithmetic on inner strides of two is slow."""
        repeated = values[..., None, :].expand(-1, -1, -1, self.points, -1)
        return repeated.contiguous()[:, :, None]
