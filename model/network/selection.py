"""Which thing queries go to the mask decoder: at inference the most probable (query, class) pairs."""

from collections.abc import Callable

import torch
from torch import Tensor

from model.network.outputs import LocationOutput, QuerySelection

QuerySelector = Callable[[LocationOutput], QuerySelection]
"""In training the criterion's matching, at inference `top_queries`."""


def top_queries(count: int) -> QuerySelector:
    """Selector of the `count` pairs of the last layer with the highest class probability, best first.

    A query may repeat with another class. Fewer pairs than `count` select all of them.
    """

    def select(location: LocationOutput) -> QuerySelection:
        probabilities = location.class_logits[-1].float().sigmoid()
        classes = probabilities.shape[-1]
        flat = probabilities.flatten(1)
        scores, pairs = flat.topk(min(count, flat.shape[1]), dim=1)
        indices = torch.div(pairs, classes, rounding_mode="floor")
        return QuerySelection(indices, pairs % classes, scores, torch.ones_like(indices, dtype=torch.bool))

    return select


def gather_queries(states: Tensor, selection: QuerySelection) -> Tensor:
    """The selected states (B, N, C) of (B, Q, C)."""
    return states.gather(1, selection.indices[..., None].expand(-1, -1, states.shape[-1]))
