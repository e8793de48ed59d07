"""Selection of the queries that stand for segments, and queries that start from encoder proposals."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from model.network.config import NetworkConfig
from model.network.layers import box_head, class_head, inverse_sigmoid
from model.network.outputs import Memory, Proposals, QuerySelection, StartingQueries
from model.network.positions import pixel_centers, sine_encoding

QuerySelector = Callable[[Tensor, Tensor], QuerySelection]
"""Chooses from class logits (B, Q, T) and boxes (D, B, Q, P): in training the matching, at inference `top_queries`."""


def top_queries(count: int) -> QuerySelector:
    """Make a selector of the `count` (query, class) pairs of the highest probability, best first.

    A query may repeat with another class. If there are fewer pairs than `count`, all are selected.
    """

    def select(class_logits: Tensor, _boxes: Tensor) -> QuerySelection:
        scores, indices, labels = top_pairs(class_logits.float().sigmoid(), count)
        return selection_of(indices, labels, scores, torch.ones_like(indices, dtype=torch.bool))

    return select


def top_pairs(probabilities: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Choose the most probable pairs of query and class: their probabilities (B, N), queries and classes, best first.

    Args:
        probabilities: (B, Q, T).
        count: N; if there are fewer pairs, all are chosen.
    """
    classes = probabilities.shape[-1]
    flat = probabilities.flatten(1)
    scores, pairs = flat.topk(min(count, flat.shape[1]), dim=1)
    return scores, torch.div(pairs, classes, rounding_mode="floor"), pairs % classes


def every_query(class_logits: Tensor, _boxes: Tensor) -> QuerySelection:
    """Select each query once, with its most probable class."""
    scores, labels = class_logits.sigmoid().max(-1)
    indices = torch.arange(labels.shape[1], device=labels.device).expand_as(labels)
    return selection_of(indices, labels, scores, torch.ones_like(labels, dtype=torch.bool))


def selection_of(indices: Tensor, labels: Tensor, scores: Tensor, valid: Tensor) -> QuerySelection:
    """Make a selection whose masks are decoded in its own order."""
    mask_indices = torch.arange(indices.shape[1], device=indices.device).expand_as(indices)
    return QuerySelection(indices, labels, scores, valid, mask_indices)


def gather_queries(states: Tensor, selection: QuerySelection) -> Tensor:
    """Gather the selected states (B, N, C) from (B, Q, C)."""
    return states.gather(1, selection.indices[..., None].expand(-1, -1, states.shape[-1]))


FINEST_SIZE = 0.1
"""Side of the anchor of a token on the finest level, as a fraction of the image; it doubles per level."""


class EncoderQueries(nn.Module):
    """Box proposals from every encoder token; the best become queries (two-stage Deformable DETR, appendix A.4)."""

    def __init__(self, config: NetworkConfig, classes: int) -> None:
        super().__init__()
        self.queries = config.queries
        self.channels = config.channels
        self.transform = nn.Sequential(nn.Linear(config.channels, config.channels), nn.LayerNorm(config.channels))
        self.class_head = class_head(config.channels, classes)
        self.location_size = config.location_size
        # `place_head` and `place` are named as in earlier weight files.
        self.place_head = box_head(config.channels, config.location_size, size_bias=0.0)
        self.content = nn.Linear(config.channels, config.channels)
        self.place = nn.Sequential(
            nn.Linear(config.location_size * (config.channels // 2), config.channels),
            nn.ReLU(),
            nn.Linear(config.channels, config.channels),
        )

    def forward(self, memory: Memory) -> tuple[StartingQueries, Proposals]:
        """Choose the initial queries: `config.queries`, or as many as there are tokens, if these are fewer."""
        tokens = self.transform(memory.tokens)
        class_logits = self.class_head(tokens)
        if memory.padding_mask is not None:
            class_logits = class_logits.masked_fill(memory.padding_mask[..., None], -20.0)
        start = anchors(memory)[..., : self.location_size]  # an area starts from the side of its anchor
        boxes = (self.place_head(tokens) + inverse_sigmoid(start)).sigmoid()
        best = class_logits.detach().amax(-1).topk(min(self.queries, tokens.shape[1]), dim=1).indices[..., None]
        reference = boxes.detach().gather(1, best.expand(-1, -1, self.location_size))
        states = self.content(tokens.gather(1, best.expand(-1, -1, self.channels)))
        position = self.place(sine_encoding(reference, self.channels // 2).flatten(-2))
        return StartingQueries(states, position, reference), Proposals(class_logits, boxes)


def anchors(memory: Memory) -> Tensor:
    """Boxes (B, S, 4) cxcywh that the tokens start from: centered at the token, larger on coarser levels."""
    centers = pixel_centers(memory.spatial_shapes, torch.ones_like(memory.valid_ratios))[:, :, 0]
    own_level = torch.cat(
        [centers.new_full((height * width,), level) for level, (height, width) in enumerate(memory.spatial_shapes)]
    )
    ratios = memory.valid_ratios[:, own_level.long()]
    size = (FINEST_SIZE * 2**own_level)[None, :, None].expand(centers.shape[0], -1, 2)
    return torch.cat((centers / ratios, size), -1)
