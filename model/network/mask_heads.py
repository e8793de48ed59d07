"""Mask heads: masks of queries that are classified before decoding (version 2) or after (version 1), and of stuff."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from model.network.config import NetworkConfig
from model.network.layers import class_head
from model.network.mask_decoder import MaskDecoder
from model.network.outputs import LocationOutput, MaskOutput, Memory, Pyramid, SegmentQueries
from model.network.queries import QuerySelector, gather_queries

Classifier = Callable[[Tensor], Tensor | None]
"""Class logits of states, None from a network without this head."""
StuffMasks = Callable[[Memory, int, bool], tuple[MaskOutput | None, Tensor | None]]
"""`StuffMaskDecoder`, or `no_stuff`."""


class SelectedQueryMasks(MaskDecoder):
    """Masks of the queries that were selected by the location decoder's classes: version 2."""

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
        selection = select(location.last_class_logits, location.boxes)
        queries = gather_queries(location.queries, selection)
        masks = self.decode_masks(queries, pyramid.memory, last_layer=mask_layer, auxiliary=auxiliary)
        return SegmentQueries(selection, masks, None)


class ClassifiedQueryMasks(MaskDecoder):
    """Masks of all queries, which are classified and selected after decoding: version 1."""

    def forward(
        self,
        location: LocationOutput,
        pyramid: Pyramid,
        classify: Classifier,
        select: QuerySelector,
        mask_layer: int,
        auxiliary: bool,
    ) -> SegmentQueries:
        """Decode, then select; without `auxiliary`, read the masks of the selected queries only."""
        decoded = self.decode(location.queries, pyramid.memory, last_layer=mask_layer, auxiliary=auxiliary)
        class_logits = classify(decoded.queries)
        assert class_logits is not None
        selection, attending = select(class_logits[-1], location.boxes), decoded.attending
        if auxiliary:
            selection = replace(selection, mask_indices=selection.indices)
        else:
            attending = gather_queries(attending, selection)
        masks = torch.stack([*decoded.auxiliary_masks, self.read_masks(attending, pyramid.memory, mask_layer)])
        return SegmentQueries(selection, MaskOutput(masks, decoded.queries), class_logits)


class StuffMaskDecoder(nn.Module):
    """One learned query per stuff class through a mask decoder, and whether its class is in the image."""

    def __init__(self, config: NetworkConfig, num_stuff: int) -> None:
        super().__init__()
        self.query_embedding = nn.Embedding(num_stuff, 2 * config.channels)  # content, then position
        self.decoder = MaskDecoder(config, config.stuff_mask_layers, self_attention=True)
        self.class_heads = nn.ModuleList(class_head(config.channels, 1) for _ in self.decoder.blocks)

    def forward(self, memory: Memory, mask_layer: int = 0, auxiliary: bool = True) -> tuple[MaskOutput, Tensor]:
        """Decode the masks of all stuff classes, and their class logits (K, B, S) after each block."""
        content, position = self.query_embedding.weight.chunk(2, dim=-1)
        content = content.expand(memory.tokens.shape[0], -1, -1)
        output = self.decoder.decode_masks(content, memory, position, mask_layer, auxiliary)
        heads = self.class_heads[: mask_layer or None][-len(output.queries) :]
        logits = [head(states) for head, states in zip(heads, output.queries, strict=True)]
        return output, torch.cat(logits, dim=-1).permute(2, 0, 1)


def no_stuff(memory: Memory, mask_layer: int, auxiliary: bool) -> tuple[None, None]:
    """Stand in for `StuffMaskDecoder` in networks without a decoder for stuff alone."""
    return None, None


def no_classes(states: Tensor) -> None:
    """Stand in for a class head that the network does not have."""
