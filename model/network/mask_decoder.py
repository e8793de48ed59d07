"""The mask decoder (paper, section 3.4): masks are the attention maps from a query to the memory.

Blocks update the queries by cross-attention to the memory. The last layer's masks are read from its attending queries;
for the losses, every block before reads masks too, off the scores that its attention computes anyway. Unlike in the
paper's text, masks come from the attention scores before their softmax.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.attention import cross_attention, few_queries, key_products, merge_heads, split_heads, value_sums
from model.network.config import MASK_LEVELS, NetworkConfig
from model.network.layers import xavier_matrices
from model.network.outputs import MaskOutput, Memory, Shapes

NORM_EPS = 1e-6
CHUNK = 25
"""Queries whose masks are read at a time where no gradient is needed, so that never all their scores are in memory."""


class HeadMix(nn.Linear):
    """Linear layer across the heads, where these come before the pixels: (B, heads, X) to the same shape."""

    def forward(self, maps: Tensor) -> Tensor:
        """Mix; takes a third of the time of moving the heads to the end for a plain linear layer."""
        return torch.baddbmm(self.bias[:, None], self.weight.expand(maps.shape[0], -1, -1), maps)


class MaskReader(nn.Module):
    """Attention scores of queries and memory, and the mask that they add up to."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.scale = (config.channels // config.heads) ** -0.5
        self.q = nn.Linear(config.channels, config.channels)
        self.k = nn.Linear(config.channels, config.channels)
        self.levels = nn.ModuleList(HeadMix(config.heads, config.heads) for _ in range(MASK_LEVELS))
        self.join = nn.Linear(MASK_LEVELS * config.heads, 1)

    def forward(self, attending: Tensor, tokens: Tensor, spatial_shapes: Shapes) -> tuple[Tensor, Tensor]:
        """Read masks (B, N, h1, w1) of attending queries (B, N, C), and the scores (B, heads, N, T) they come from."""
        scores = key_products(self.project_queries(attending) * self.scale, tokens, self.k)
        return self.join_levels(scores, spatial_shapes), scores

    def read(self, attending: Tensor, tokens: Tensor, spatial_shapes: Shapes) -> Tensor:
        """Read the masks alone, a few queries at a time where no gradient is needed."""
        if torch.is_grad_enabled() or few_queries(attending.shape[1], self.heads, tokens):
            masks: Tensor = self(attending, tokens, spatial_shapes)[0]
            return masks
        parts = (self.project_queries(attending) * self.scale).split(CHUNK, dim=2)
        key = split_heads(self.k(tokens), self.heads).mT
        return torch.cat([self.join_levels(part @ key, spatial_shapes) for part in parts], dim=1)

    def project_queries(self, queries: Tensor) -> Tensor:
        """(B, N, C) to (B, heads, N, D)."""
        return split_heads(self.q(queries), self.heads)

    def join_levels(self, scores: Tensor, spatial_shapes: Shapes) -> Tensor:
        """Join the scores (B, heads, N, T) of all levels to masks (B, N, h1, w1) of the finest level's size.

        The joining linear layer comes before the resizing here: both are linear, so their order does not
        matter, and one channel is resized instead of one per head.
        """
        batch, _, queries, _ = scores.shape
        finest = spatial_shapes[0]
        joined: Tensor = self.join.bias
        by_level = torch.split(scores, [height * width for height, width in spatial_shapes], dim=-1)
        join_weights = self.join.weight.chunk(len(by_level), dim=-1)
        for maps, mix, weight, shape in zip(by_level, self.levels, join_weights, spatial_shapes, strict=True):
            mixed = mix(maps.flatten(2)).relu()
            single = torch.bmm(weight.expand(batch, -1, -1), mixed).view(batch * queries, 1, *shape)
            if shape != finest:
                single = F.interpolate(single, size=finest, mode="bilinear", align_corners=False)
            joined = joined + single
        return joined.relu().view(batch, queries, *finest)


class SelfAttention(nn.Module):
    """Plain multi-head attention among the queries, added and normalized."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.channels, 3 * config.channels)
        self.output = nn.Linear(config.channels, config.channels)
        self.norm = nn.LayerNorm(config.channels, eps=NORM_EPS)

    def forward(self, queries: Tensor) -> Tensor:
        """Return queries (B, N, C) that have attended to each other."""
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(queries).chunk(3, dim=-1))
        attended = merge_heads(F.scaled_dot_product_attention(q, k, v))
        updated: Tensor = self.norm(queries + self.output(attended))
        return updated


class BlockOutput(NamedTuple):
    """Output of one block."""

    queries: Tensor  # (B, N, C) updated
    attending: Tensor  # (B, N, C) as they attended to the memory
    masks: Tensor | None  # (B, N, h1, w1) read from these, if asked for


class MaskBlock(nn.Module):
    """Self-attention (stuff only), cross-attention to the memory, MLP; post-norm, no dropout."""

    def __init__(self, config: NetworkConfig, self_attention: bool) -> None:
        super().__init__()
        channels = config.channels
        self.self_attention = SelfAttention(config) if self_attention else None
        self.cross = MaskReader(config)
        self.v = nn.Linear(channels, channels)
        self.output = nn.Linear(channels, channels)
        self.cross_norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.mlp = nn.Sequential(
            nn.Linear(channels, config.mask_feedforward), nn.GELU(), nn.Linear(config.mask_feedforward, channels)
        )
        self.mlp_norm = nn.LayerNorm(channels, eps=NORM_EPS)

    def forward(self, queries: Tensor, tokens: Tensor, spatial_shapes: Shapes | None) -> BlockOutput:
        """Update queries (B, N, C) from tokens (B, T, C); read masks where the levels' shapes are given."""
        attending = queries if self.self_attention is None else self.self_attention(queries)
        masks = None
        if spatial_shapes is None:
            attended = cross_attention(self.cross.project_queries(attending), tokens, self.cross.k, self.v)
        else:
            masks, scores = self.cross(attending, tokens, spatial_shapes)
            attended = value_sums(scores.softmax(-1), tokens, self.v)
        queries = self.cross_norm(attending + self.output(merge_heads(attended)))
        return BlockOutput(self.mlp_norm(queries + self.mlp(queries)), attending, masks)


@dataclass(frozen=True)
class DecodedQueries:
    """Queries of a mask decoder; without auxiliary outputs K = 1, and there are no auxiliary masks."""

    queries: Tensor  # (K, B, N, C) after each block
    attending: Tensor  # (B, N, C) as they attend to the memory in the last layer
    auxiliary_masks: tuple[Tensor, ...]  # (B, N, h1, w1) of each layer before the last


class MaskDecoder(nn.Module):
    """Blocks, then a tail that only reads masks. The tail's masks are the result, the blocks' are auxiliary.

    Keys carry no position, and padded tokens are not masked, as published.
    """

    def __init__(self, config: NetworkConfig, blocks: int, self_attention: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(MaskBlock(config, self_attention) for _ in range(blocks))
        self.tail = MaskReader(config)
        xavier_matrices(self)

    def decode(
        self,
        queries: Tensor,
        memory: Memory,
        position: Tensor | None = None,
        last_layer: int = 0,
        auxiliary: bool = True,
    ) -> DecodedQueries:
        """Update queries (B, N, C), N = 0 allowed, up to the attending queries of the last layer.

        Args:
            queries: what the first block gets.
            memory: encoder output.
            position: (N, C), added again at the entry of every block and of the tail.
            last_layer: block, counted from 1, after which the decoder ends (the paper's table 10); 0, or more than
                there are blocks, is the tail.
            auxiliary: also return the queries and masks of all layers before, as the losses need them.
        """
        tokens, shapes = finest_levels(memory)
        blocks, last = self._layers(last_layer)
        outputs: list[BlockOutput] = []
        for block in blocks:
            reads = auxiliary and block.cross is not last
            outputs.append(block(_with_position(queries, position), tokens, shapes if reads else None))
            queries = outputs[-1].queries
        attending = _with_position(queries, position) if last is self.tail else outputs[-1].attending
        states = torch.stack([output.queries for output in outputs[0 if auxiliary else -1 :]])
        return DecodedQueries(states, attending, tuple(output.masks for output in outputs if output.masks is not None))

    def read_masks(self, attending: Tensor, memory: Memory, last_layer: int = 0) -> Tensor:
        """Read the last layer's masks (B, N, h1, w1) of all or some of its attending queries (B, N, C)."""
        _, last = self._layers(last_layer)
        return last.read(attending, *finest_levels(memory))

    def decode_masks(
        self,
        queries: Tensor,
        memory: Memory,
        position: Tensor | None = None,
        last_layer: int = 0,
        auxiliary: bool = True,
    ) -> MaskOutput:
        """Decode, as `decode` describes, and read the masks of all queries."""
        decoded = self.decode(queries, memory, position, last_layer, auxiliary)
        masks = self.read_masks(decoded.attending, memory, last_layer)
        return MaskOutput(torch.stack([*decoded.auxiliary_masks, masks]), decoded.queries)

    def readers(self, last_layer: int = 0) -> list[MaskReader]:
        """Return what each layer in use attends with; the last one reads the masks that are the result."""
        blocks, last = self._layers(last_layer)
        return [*(block.cross for block in blocks if block.cross is not last), last]

    def _layers(self, last_layer: int) -> tuple[Sequence[MaskBlock], MaskReader]:
        """The blocks in use, and the reader of the masks that are the result."""
        blocks = [block for block in self.blocks if isinstance(block, MaskBlock)]
        if 0 < last_layer <= len(blocks):
            return blocks[:last_layer], blocks[last_layer - 1].cross
        return blocks, self.tail


def finest_levels(memory: Memory) -> tuple[Tensor, Shapes]:
    """The tokens (B, T, C) that masks are made of, and the sizes of their levels."""
    shapes = memory.spatial_shapes[:MASK_LEVELS]
    return memory.tokens[:, : sum(height * width for height, width in shapes)], shapes


def _with_position(queries: Tensor, position: Tensor | None) -> Tensor:
    return queries if position is None else queries + position
