"""The baselines' mask head (DETR, section 4.4): attention maps, refined by ever finer feature maps.

A query's attention maps on the coarsest level are joined with that level's features; convolutions then go up the
pyramid, halving the channels, for every query separately. The paper's mask decoder saves this cost.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.attention import split_heads
from model.network.config import MASK_LEVELS, NetworkConfig
from model.network.mask_heads import Classifier
from model.network.outputs import LocationOutput, MaskOutput, Memory, Pyramid, SegmentQueries
from model.network.queries import QuerySelector, gather_queries

GROUPS = 8
CHUNK = 20
"""Queries that are refined at a time where no gradient is needed, which bounds the memory of inference."""


class FpnMaskDecoder(nn.Module):
    """Masks of queries from one level of the memory and the maps above it."""

    def __init__(self, config: NetworkConfig, in_channels: Sequence[int]) -> None:
        """Build a decoder that refines by maps of `in_channels`, finest first."""
        super().__init__()
        channels = config.channels
        self.heads = config.heads
        self.scale = (channels // config.heads) ** -0.5
        self.q = nn.Linear(channels, channels)
        self.k = nn.Linear(channels, channels)
        joined = channels + config.heads
        widths = [channels // 2 ** (step + 1) for step in range(len(in_channels) + 1)]
        self.first = nn.Sequential(*_conv_norm(joined, joined), *_conv_norm(joined, widths[0]))
        self.adapters = nn.ModuleList(
            nn.Conv2d(size, width, kernel_size=1)
            for size, width in zip(reversed(in_channels), widths[:-1], strict=True)
        )
        self.refinements = nn.ModuleList(
            nn.Sequential(*_conv_norm(width, narrower)) for width, narrower in pairwise(widths)
        )
        self.last = nn.Conv2d(widths[-1], 1, kernel_size=3, padding=1)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_uniform_(part.weight, a=1)
                nn.init.constant_(part.get_parameter("bias"), 0)
        for linear in (self.q, self.k):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def decode_masks(
        self, queries: Tensor, memory: Memory, level: int, projected: Tensor, features: tuple[Tensor, ...]
    ) -> MaskOutput:
        """Decode the masks of queries.

        Args:
            queries: (B, N, C), N = 0 allowed.
            memory: encoder output.
            level: level of the memory that the queries attend to.
            projected: (B, C, h, w) input of the encoder on this level.
            features: finer maps, finest first.

        Returns:
            One set of masks, at the size of the finest map.
        """
        attention = self.attention(queries, memory, level)
        step = max(attention.shape[1], 1) if torch.is_grad_enabled() else CHUNK
        adapted = [adapter(feature) for adapter, feature in zip(self.adapters, reversed(features), strict=True)]
        masks = torch.cat(
            [self._refine(part, projected, adapted) for part in torch.split(attention, step, dim=1)], dim=1
        )
        return MaskOutput(masks.sigmoid()[None], queries.new_empty(0, *queries.shape))

    def attention(self, queries: Tensor, memory: Memory, level: int) -> Tensor:
        """Compute attention maps (B, N, heads, h, w) on a level, whose mean over a query's heads and pixels is 1.

        In DETR they sum to 1. Beside features of about 1, numbers that small tell queries apart only after long
        training; so they are scaled here.
        """
        height, width = memory.spatial_shapes[level]
        start = sum(h * w for h, w in memory.spatial_shapes[:level])
        own = slice(start, start + height * width)
        query = split_heads(self.q(queries), self.heads) * self.scale
        key = split_heads(self.k(memory.tokens[:, own]), self.heads)
        scores = (query @ key.transpose(-2, -1)).transpose(1, 2)
        if memory.padding_mask is not None:
            scores = scores.masked_fill(memory.padding_mask[:, None, None, own], -math.inf)
        attention: Tensor = scores.flatten(2).softmax(-1).view(*scores.shape[:3], height, width)
        return attention * (self.heads * height * width)

    def _refine(self, attention: Tensor, projected: Tensor, adapted: list[Tensor]) -> Tensor:
        """Refine attention maps (B, N, heads, h, w) to mask logits (B, N, H, W)."""
        batch, count = attention.shape[:2]
        context = projected[:, None].expand(-1, count, -1, -1, -1)
        maps = self.first(torch.cat((context, attention), dim=2).flatten(0, 1))
        for refine, feature in zip(self.refinements, adapted, strict=True):
            maps = F.interpolate(maps, size=feature.shape[-2:], mode="nearest")
            maps = refine((maps.view(batch, count, *feature.shape[1:]) + feature[:, None]).flatten(0, 1))
        logits: Tensor = self.last(maps)
        return logits.view(batch, count, *logits.shape[-2:])


class FpnQueryMasks(FpnMaskDecoder):
    """FPN masks of the selected queries, from DETR's coarsest level or from the third one of D-DETR-MS.

    DETR refines by the backbone's maps. With deformable attention the refining maps are the memory's at strides 16 and
    8 and the backbone's finest: with these D-DETR-MS has the multiply-adds that its paper prints.
    """

    def __init__(self, config: NetworkConfig, backbone_channels: tuple[int, ...], finer: int) -> None:
        self.dense, self.finer = config.attention == "dense", finer
        finest = backbone_channels[0] if finer else config.channels
        by_memory = (finest, *[config.channels] * (MASK_LEVELS - 1))
        super().__init__(config, backbone_channels[:-1] if self.dense else by_memory)

    def forward(
        self,
        location: LocationOutput,
        pyramid: Pyramid,
        classify: Classifier,
        select: QuerySelector,
        mask_layer: int,
        auxiliary: bool,
    ) -> SegmentQueries:
        """Select, then decode."""
        assert not mask_layer, "an FPN has no layers to read masks from"
        selection = select(location.last_class_logits, location.boxes)
        queries, memory, features = gather_queries(location.queries, selection), pyramid.memory, pyramid.features
        level, finer = 0, features[:-1]
        if not self.dense:
            finest, *coarser = memory.maps()[:MASK_LEVELS]
            level, finer = MASK_LEVELS - 1, (features[0] if self.finer else finest, *coarser)
        masks = self.decode_masks(queries, memory, level, pyramid.levels[level], finer)
        return SegmentQueries(selection, masks, None)


def _conv_norm(in_channels: int, out_channels: int) -> tuple[nn.Module, ...]:
    groups = math.gcd(GROUPS, out_channels)
    return (
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1),
        nn.GroupNorm(groups, out_channels),
        nn.ReLU(),
    )
