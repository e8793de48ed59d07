"""The mask decoders (paper, section 3.4): masks are the attention maps from a query to the memory.

Unlike the paper's text there are two decoders with separate weights, one for things and one for stuff, and a
mask is read off the attention scores before their softmax.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.config import MASK_LEVELS, NetworkConfig
from model.network.layers import class_head, xavier_matrices
from model.network.outputs import MaskOutput, Memory, Shapes


def key_products(query: Tensor, tokens: Tensor, key: nn.Linear) -> Tensor:
    """Queries (B, H, N, D) times the keys of tokens (B, T, C), (B, H, N, T)."""
    batch, heads, count, dim = query.shape
    if not few_queries(count, heads, tokens):
        return query @ split_heads(key(tokens), heads).mT
    looking = query @ key.weight.view(heads, dim, -1)
    products = looking.flatten(1, 2) @ tokens.mT
    return products.view(batch, heads, count, tokens.shape[1]) + query @ key.bias.view(heads, dim, 1)


def value_sums(weights: Tensor, tokens: Tensor, value: nn.Linear) -> Tensor:
    """Sums (B, H, N, D) of the values of tokens (B, T, C) by weights (B, H, N, T) that add up to 1 over the tokens."""
    batch, heads, count, _ = weights.shape
    if not few_queries(count, heads, tokens):
        return weights @ split_heads(value(tokens), heads)
    gathered = (weights.flatten(1, 2) @ tokens).view(batch, heads, count, tokens.shape[2])
    return gathered @ value.weight.view(heads, -1, tokens.shape[2]).mT + value.bias.view(heads, 1, -1)


def split_heads(states: Tensor, heads: int) -> Tensor:
    """(B, N, C) to (B, heads, N, C / heads)."""
    batch, count, channels = states.shape
    return states.view(batch, count, heads, channels // heads).transpose(1, 2)


def few_queries(count: int, heads: int, tokens: Tensor) -> bool:
    """Whether so many queries rather look at the tokens (B, T, C) themselves."""
    return count * (heads - 1) < tokens.shape[2]


NORM_EPS = 1e-6
CHUNK = 25
"""Queries whose masks are read off at a time where only these are wanted: all their scores are never held at once."""


class HeadMix(nn.Linear):
    """Linear layer across the heads, where these come before the pixels: (B, heads, X) to the same shape."""

    def forward(self, maps: Tensor) -> Tensor:
        """A third of the time of moving the heads to the end for a plain linear layer."""
        return torch.baddbmm(self.bias[:, None], self.weight.expand(maps.shape[0], -1, -1), maps)


class AttentionMasks(nn.Module):
    """Attention scores of queries and memory, and the mask that they add up to."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.scale = (config.channels // config.heads) ** -0.5
        self.q = nn.Linear(config.channels, config.channels)
        self.k = nn.Linear(config.channels, config.channels)
        self.levels = nn.ModuleList(HeadMix(config.heads, config.heads) for _ in range(MASK_LEVELS))
        self.join = nn.Linear(MASK_LEVELS * config.heads, 1)

    def forward(self, queries: Tensor, tokens: Tensor, spatial_shapes: Shapes) -> tuple[Tensor, Tensor]:
        """Queries (B, N, C) and tokens (B, T, C) to scores (B, heads, N, T) and masks (B, N, h1, w1)."""
        query = split_heads(self.q(queries), self.heads) * self.scale
        scores = key_products(query, tokens, self.k)
        return scores, self.masks(scores, spatial_shapes)

    def read(self, queries: Tensor, tokens: Tensor, spatial_shapes: Shapes) -> Tensor:
        """The masks of `forward`, a few queries at a time."""
        query, key = self.projected(queries, tokens)
        parts = (query * self.scale).split(CHUNK, dim=2)
        return torch.cat([self.masks(part @ key.transpose(-2, -1), spatial_shapes) for part in parts], dim=1)

    def projected(self, queries: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (B, heads, N, D) and keys (B, heads, T, D)."""
        return split_heads(self.q(queries), self.heads), split_heads(self.k(tokens), self.heads)

    def masks(self, scores: Tensor, spatial_shapes: Shapes) -> Tensor:
        """Join the levels at the size of the finest.

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


class MaskBlock(nn.Module):
    """Self-attention (stuff only), cross-attention that also gives masks, MLP; post-norm, no dropout."""

    def __init__(self, config: NetworkConfig, self_attention: bool) -> None:
        super().__init__()
        channels = config.channels
        self.heads = config.heads
        self.self_attention = SelfAttention(config) if self_attention else None
        self.cross = AttentionMasks(config)
        self.v = nn.Linear(channels, channels)
        self.output = nn.Linear(channels, channels)
        self.cross_norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.mlp = nn.Sequential(
            nn.Linear(channels, config.mask_feedforward), nn.GELU(), nn.Linear(config.mask_feedforward, channels)
        )
        self.mlp_norm = nn.LayerNorm(channels, eps=NORM_EPS)

    def forward(self, queries: Tensor, tokens: Tensor, spatial_shapes: Shapes) -> tuple[Tensor, Tensor]:
        """Queries (B, N, C) to updated queries and masks (B, N, h1, w1)."""
        queries = self.relate(queries)
        scores, masks = self.cross(queries, tokens, spatial_shapes)
        return self._updated(queries, value_sums(scores.softmax(-1), tokens, self.v)), masks

    def update(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """What `forward` makes of queries (B, N, C) from `relate`, without masks: no attention map is held."""
        query, key = self.cross.projected(queries, tokens)
        return self._updated(queries, F.scaled_dot_product_attention(query, key, self._values(tokens)))

    def relate(self, queries: Tensor) -> Tensor:
        """The queries (B, N, C) as they look at the memory: after their self-attention, if any."""
        if self.self_attention is not None:
            queries = self.self_attention(queries)
        return queries

    def _values(self, tokens: Tensor) -> Tensor:
        return split_heads(self.v(tokens), self.heads)

    def _updated(self, queries: Tensor, attended: Tensor) -> Tensor:
        """Queries (B, N, C) after what the heads (B, heads, N, D) have gathered."""
        queries = self.cross_norm(queries + self.output(merge_heads(attended)))
        updated: Tensor = self.mlp_norm(queries + self.mlp(queries))
        return updated


class SelfAttention(nn.Module):
    """Plain multi-head attention among the queries, added and normalized."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.channels, 3 * config.channels)
        self.output = nn.Linear(config.channels, config.channels)
        self.norm = nn.LayerNorm(config.channels, eps=NORM_EPS)

    def forward(self, queries: Tensor) -> Tensor:
        """(B, N, C) to the same shape."""
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(queries).chunk(3, dim=-1))
        related = merge_heads(F.scaled_dot_product_attention(q, k, v))
        updated: Tensor = self.norm(queries + self.output(related))
        return updated


class MaskDecoder(nn.Module):
    """Blocks, then a tail that only makes masks. The tail's masks are the result, the blocks' are auxiliary.

    Keys carry no position, and padded tokens are not masked, as published.
    """

    def __init__(self, config: NetworkConfig, blocks: int, self_attention: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(MaskBlock(config, self_attention) for _ in range(blocks))
        self.tail = AttentionMasks(config)
        xavier_matrices(self)

    def forward(
        self,
        queries: Tensor,
        memory: Memory,
        position: Tensor | None = None,
        last_layer: int = 0,
        auxiliary: bool = True,
    ) -> MaskOutput:
        """Masks of queries (B, N, C), N = 0 allowed; a position (N, C) is added again at the entry of every part.

        With `last_layer` the decoder ends there, and the masks of this block, counted from 1, are the result (the
        paper's table 10); 0, or more than there are blocks, is the tail. Without `auxiliary` only the last masks and
        queries are given, and no others are computed.
        """
        if not auxiliary:
            queries, looking = self.decode(queries, memory, position, last_layer)
            return MaskOutput(self.read(looking, memory, last_layer)[None], queries[None])
        tokens, shapes = _finest_levels(memory)
        blocks, reader = self._parts(last_layer)
        all_queries, all_masks = [], []
        for block in blocks:
            queries, masks = block(_placed(queries, position), tokens, shapes)
            all_queries.append(queries)
            all_masks.append(masks)
        if reader is self.tail:
            _, masks = reader(_placed(queries, position), tokens, shapes)
            all_masks.append(masks)
        return MaskOutput(torch.stack(all_masks), torch.stack(all_queries))

    def decode(
        self, queries: Tensor, memory: Memory, position: Tensor | None = None, last_layer: int = 0
    ) -> tuple[Tensor, Tensor]:
        """The last queries (B, N, C) of `forward`, and those whose attention maps are its last masks; makes no mask."""
        tokens, _ = _finest_levels(memory)
        blocks, reader = self._parts(last_layer)
        for block in blocks:
            looking = block.relate(_placed(queries, position))
            queries = block.update(looking, tokens)
        return queries, _placed(queries, position) if reader is self.tail else looking

    def read(self, queries: Tensor, memory: Memory, last_layer: int = 0) -> Tensor:
        """The last masks (B, N, h1, w1) of `forward`, of some or all of the queries that `decode` gives second."""
        _, reader = self._parts(last_layer)
        return reader.read(queries, *_finest_levels(memory))

    def _parts(self, last_layer: int) -> tuple[Sequence[MaskBlock], AttentionMasks]:
        """The blocks that are used, and where the masks that are the result are read off."""
        blocks = [block for block in self.blocks if isinstance(block, MaskBlock)]
        if 0 < last_layer <= len(blocks):
            return blocks[:last_layer], blocks[last_layer - 1].cross
        return blocks, self.tail


class StuffMaskDecoder(nn.Module):
    """One learned query per stuff class through a mask decoder, and whether its class is in the image."""

    def __init__(self, config: NetworkConfig, num_stuff: int) -> None:
        super().__init__()
        self.query_embedding = nn.Embedding(num_stuff, 2 * config.channels)  # content, then position
        self.decoder = MaskDecoder(config, config.stuff_mask_layers, self_attention=True)
        self.class_heads = nn.ModuleList(class_head(config.channels, 1) for _ in self.decoder.blocks)

    def forward(self, memory: Memory, last_layer: int = 0, auxiliary: bool = True) -> tuple[MaskOutput, Tensor]:
        """Masks of all stuff classes, and their class logits (K, B, S) after the same blocks as the queries."""
        content, position = self.query_embedding.weight.chunk(2, dim=-1)
        content = content.expand(memory.tokens.shape[0], -1, -1)
        output = self.decoder(content, memory, position, last_layer, auxiliary)
        heads = self.class_heads[: last_layer or None][-len(output.queries) :]
        logits = [head(states) for head, states in zip(heads, output.queries, strict=True)]
        return output, torch.cat(logits, dim=-1).permute(2, 0, 1)


def merge_heads(states: Tensor) -> Tensor:
    """(B, heads, N, D) to (B, N, heads * D)."""
    return states.transpose(1, 2).flatten(2)


def _finest_levels(memory: Memory) -> tuple[Tensor, Shapes]:
    """The tokens (B, T, C) that masks are made of, and their levels' sizes."""
    shapes = memory.spatial_shapes[:MASK_LEVELS]
    return memory.tokens[:, : sum(height * width for height, width in shapes)], shapes


def _placed(queries: Tensor, position: Tensor | None) -> Tensor:
    return queries if position is None else queries + position
