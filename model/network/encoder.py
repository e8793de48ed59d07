"""The deformable encoder (paper, section 3.2), from feature levels to memory."""

import torch
from torch import Tensor, nn

from model.network.config import NetworkConfig
from model.network.deformable import DeformableAttention
from model.network.layers import FeedForward, xavier_matrices
from model.network.outputs import Memory, Shapes
from model.network.positions import any_padding, level_masks, pixel_centers, sine_position, valid_ratio


class EncoderLayer(nn.Module):
    """Deformable self-attention and feed-forward, post-norm."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.attention = DeformableAttention(config)
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.channels)
        self.feedforward = FeedForward(config.channels, config.feedforward, config.dropout)

    def forward(
        self, tokens: Tensor, position: Tensor, references: Tensor, mask: Tensor | None, spatial_shapes: Shapes
    ) -> Tensor:
        """Update tokens (B, S, C), padded ones too, although none is sampled."""
        attended = self.attention(tokens + position, references, tokens, mask, spatial_shapes)
        updated: Tensor = self.feedforward(self.norm(tokens + self.dropout(attended)))
        return updated


class Encoder(nn.Module):
    """Joins the levels to one sequence and refines its tokens; position and level are added to the queries."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.channels = config.channels
        self.level_embedding = nn.Parameter(torch.empty(config.levels, config.channels))
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        xavier_matrices(self)
        nn.init.normal_(self.level_embedding)
        for layer in self.modules():
            if isinstance(layer, DeformableAttention):
                layer.reset_parameters()

    def forward(
        self,
        levels: list[Tensor],
        image_sizes: tuple[tuple[int, int], ...] | None,
        batch_size: tuple[int, int],
    ) -> Memory:
        """Encode.

        Args:
            levels: L maps (B, C, h, w), finest first.
            image_sizes: (height, width) in pixels of each image without padding; None: no image is padded.
            batch_size: (height, width) in pixels of the padded images.
        """
        spatial_shapes = tuple((level.shape[-2], level.shape[-1]) for level in levels)
        masks = level_masks(levels, image_sizes, batch_size)
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)
        position = self.positions(masks)
        valid_ratios = torch.stack([valid_ratio(mask) for mask in masks], dim=1)
        references = pixel_centers(spatial_shapes, valid_ratios)
        position, valid_ratios, references = (
            of_sizes.expand(tokens.shape[0], *of_sizes.shape[1:]) for of_sizes in (position, valid_ratios, references)
        )
        mask = None
        if any_padding(image_sizes, batch_size):
            mask = torch.cat([level.flatten(1) for level in masks], dim=1).expand(tokens.shape[0], -1)
        for layer in self.layers:
            tokens = layer(tokens, position, references, mask, spatial_shapes)
        return Memory(tokens, position, mask, spatial_shapes, valid_ratios)

    def positions(self, masks: list[Tensor]) -> Tensor:
        """Add sine positions and level embeddings to (B, S, C), from the levels' padding masks (B, h, w)."""
        encoded = [
            sine_position(mask, self.channels).flatten(1, 2) + embedding
            for mask, embedding in zip(masks, self.level_embedding, strict=True)
        ]
        return torch.cat(encoded, dim=1)
