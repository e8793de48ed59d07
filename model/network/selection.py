"""Which queries stand for segments: at inference the most probable (query, class) pairs."""

from collections.abc import Callable

import torch
from torch import Tensor

from model.network.outputs import QuerySelection

QuerySelector = Callable[[Tensor, Tensor], QuerySelection]
"""Chooses from class logits (B, Q, T) and places (D, B, Q, P): in training the matching, at inference `top_queries`."""


def top_queries(count: int) -> QuerySelector:
    """Selector of the `count` pairs with the highest class probability, best first.

    A query may repeat with another class. Fewer pairs than `count` select all of them.
    """

    def select(class_logits: Tensor, _places: Tensor) -> QuerySelection:
        probabilities = class_logits.float().sigmoid()
        classes = probabilities.shape[-1]
        flat = probabilities.flatten(1)
        scores, pairs = flat.topk(min(count, flat.shape[1]), dim=1)
        indices = torch.div(pairs, classes, rounding_mode="floor")
        return selection_of(indices, pairs % classes, scores, torch.ones_like(indices, dtype=torch.bool))

    return select


def every_query(class_logits: Tensor, _places: Tensor) -> QuerySelection:
    """Selector of each query once, with its most probable class."""
    scores, labels = class_logits.sigmoid().max(-1)
    indices = torch.arange(labels.shape[1], device=labels.device).expand_as(labels)
    return selection_of(indices, labels, scores, torch.ones_like(labels, dtype=torch.bool))


def selection_of(indices: Tensor, labels: Tensor, scores: Tensor, valid: Tensor) -> QuerySelection:
    """A selection whose masks are decoded in its own order."""
    slots = torch.arange(indices.shape[1], device=indices.device).expand_as(indices)
    return QuerySelection(indices, labels, scores, valid, slots)


def gather_queries(states: Tensor, selection: QuerySelection) -> Tensor:
    """The selected states (B, N, C) of (B, Q, C)."""
    return states.gather(1, selection.indices[..., None].expand(-1, -1, states.shape[-1]))
