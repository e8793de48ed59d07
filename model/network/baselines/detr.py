"""Parts of the baseline DETR (Carion et al., ECCV 2020): dense attention on the coarsest level only, post-norm."""

from torch import Tensor, nn

from model.network.config import NetworkConfig
from model.network.layers import FeedForward, xavier_matrices
from model.network.outputs import Memory
from model.network.positions import any_padding, level_masks, sine_position, valid_ratio


class CoarsestLevel(nn.Module):
    """DETR's neck: a 1x1 convolution of the backbone's last map, without a norm."""

    def __init__(self, in_channels: tuple[int, ...], config: NetworkConfig) -> None:
        super().__init__()
        self.projection = nn.Conv2d(in_channels[-1], config.channels, kernel_size=1)

    def forward(self, features: tuple[Tensor, ...]) -> list[Tensor]:
        """Project the last of the backbone's maps to the only level (B, C, h, w)."""
        return [self.projection(features[-1])]


class DenseEncoderLayer(nn.Module):
    """Self-attention among all tokens and feed-forward."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(config.channels, config.heads, dropout=config.dropout, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.channels)
        self.feedforward = FeedForward(config.channels, config.feedforward, config.dropout)

    def forward(self, tokens: Tensor, position: Tensor, mask: Tensor | None) -> Tensor:
        """Update tokens (B, S, C) with position (B, S, C); none attends to padding (mask (B, S) True)."""
        with_position = tokens + position
        attended, _ = self.attention(with_position, with_position, tokens, key_padding_mask=mask, need_weights=False)
        updated: Tensor = self.feedforward(self.norm(tokens + self.dropout(attended)))
        return updated


class DenseEncoder(nn.Module):
    """Encoder of one level, with the same sine positions as Panoptic SegFormer's."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.channels = config.channels
        self.layers = nn.ModuleList(DenseEncoderLayer(config) for _ in range(config.encoder_layers))
        xavier_matrices(self)

    def forward(
        self,
        levels: list[Tensor],
        image_sizes: tuple[tuple[int, int], ...] | None,
        batch_size: tuple[int, int],
    ) -> Memory:
        """Encode one level; see `model.network.encoder.Encoder.forward`."""
        (level,) = levels
        shape = level.shape[-2], level.shape[-1]
        (mask,) = level_masks(levels, image_sizes, batch_size)
        mask = mask.expand(level.shape[0], -1, -1)
        position = sine_position(mask, self.channels).flatten(1, 2)
        ratios = valid_ratio(mask)[:, None]
        tokens = level.flatten(2).transpose(1, 2)
        flat = mask.flatten(1) if any_padding(image_sizes, batch_size) else None
        for layer in self.layers:
            tokens = layer(tokens, position, flat)
        return Memory(tokens, position, flat, (shape,), ratios)


class DenseLocationLayer(nn.Module):
    """Self-attention among the queries, dense cross-attention to the memory, feed-forward."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.self_attention, self.cross_attention = (
            nn.MultiheadAttention(config.channels, config.heads, dropout=config.dropout, batch_first=True)
            for _ in range(2)
        )
        self.self_norm = nn.LayerNorm(config.channels)
        self.cross_norm = nn.LayerNorm(config.channels)
        self.dropout = nn.Dropout(config.dropout)
        self.feedforward = FeedForward(config.channels, config.feedforward, config.dropout)

    def forward(self, states: Tensor, position: Tensor, _reference: Tensor | None, memory: Memory) -> Tensor:
        """Update states (B, Q, C); dense attention needs no reference, unlike its deformable counterpart."""
        with_position = states + position
        attended, _ = self.self_attention(with_position, with_position, states, need_weights=False)
        states = self.self_norm(states + self.dropout(attended))
        attended, _ = self.cross_attention(
            states + position,
            memory.tokens + memory.position,
            memory.tokens,
            key_padding_mask=memory.padding_mask,
            need_weights=False,
        )
        updated: Tensor = self.feedforward(self.cross_norm(states + self.dropout(attended)))
        return updated
