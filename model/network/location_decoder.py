"""The location decoder (paper, section 3.3): thing queries learn where things are, and of which class.

Unlike the paper's text, its class heads are the network's thing classifier and stay at inference.
"""

import torch
from torch import Tensor, nn

from model.network.config import NetworkConfig
from model.network.deformable import DeformableAttention
from model.network.layers import FeedForward, box_head, class_head, inverse_sigmoid, xavier_matrices
from model.network.outputs import LocationOutput, Memory, StartingQueries

WIDTH_HEIGHT_BIAS = -2.0  # sigmoid 0.12: small boxes at the start


class LocationLayer(nn.Module):
    """Self-attention among the queries, deformable cross-attention to the memory, feed-forward; post-norm."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.self_attention = nn.MultiheadAttention(
            config.channels, config.heads, dropout=config.dropout, batch_first=True
        )
        self.self_norm = nn.LayerNorm(config.channels)
        self.cross_attention = DeformableAttention(config)
        self.cross_norm = nn.LayerNorm(config.channels)
        self.dropout = nn.Dropout(config.dropout)
        self.feedforward = FeedForward(config.channels, config.feedforward, config.dropout)

    def forward(self, states: Tensor, position: Tensor, references: Tensor, memory: Memory) -> Tensor:
        """States and position (B, Q, C), references (B, Q, L, 2 or 4) to states (B, Q, C)."""
        placed = states + position
        related, _ = self.self_attention(placed, placed, states, need_weights=False)
        states = self.self_norm(states + self.dropout(related))
        attended = self.cross_attention(
            states + position, references, memory.tokens, memory.padding_mask, memory.spatial_shapes
        )
        updated: Tensor = self.feedforward(self.cross_norm(states + self.dropout(attended)))
        return updated


class LearnedQueries(nn.Module):
    """Thing queries as published: parameters, whose position also says where to look first."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.queries, 2 * config.channels)  # position, then content
        self.reference_points = nn.Linear(config.channels, 2)
        nn.init.xavier_uniform_(self.reference_points.weight)
        nn.init.zeros_(self.reference_points.bias)

    def forward(self, memory: Memory) -> tuple[StartingQueries, None]:
        """The same queries for every picture of the batch."""
        position, states = self.embedding.weight.expand(len(memory.tokens), -1, -1).chunk(2, dim=-1)
        return StartingQueries(states, position, self.reference_points(position).float().sigmoid()), None


class LocationDecoder(nn.Module):
    """Layers that each refine the box of the one before; every layer has its own class and box head."""

    def __init__(self, config: NetworkConfig, num_things: int) -> None:
        super().__init__()
        channels = config.channels
        self.layers = nn.ModuleList(LocationLayer(config) for _ in range(config.location_layers))
        self.class_heads = nn.ModuleList(class_head(channels, num_things) for _ in self.layers)
        sizes = [WIDTH_HEIGHT_BIAS] + [0.0] * (config.location_layers - 1)
        self.box_heads = nn.ModuleList(box_head(channels, size) for size in sizes)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        xavier_matrices(self.layers)
        for layer in self.layers.modules():
            if isinstance(layer, DeformableAttention):
                layer.reset_parameters()

    def forward(self, memory: Memory, start: StartingQueries) -> LocationOutput:
        """Locate: states, classes and boxes of all queries after every layer."""
        states, reference = start.states, start.reference
        all_states, all_boxes = [], []
        for layer, correct in zip(self.layers, self.box_heads, strict=True):
            ratios = memory.valid_ratios.repeat(1, 1, reference.shape[-1] // 2)
            states = layer(states, start.position, reference[:, :, None] * ratios[:, None], memory)
            boxes = refine(reference, correct(states))
            all_states.append(states)
            all_boxes.append(boxes)
            reference = boxes.detach()
        class_logits = [head(states) for head, states in zip(self.class_heads, all_states, strict=True)]
        return LocationOutput(
            torch.stack(all_states), torch.stack(class_logits), torch.stack(all_boxes), start.reference
        )


def refine(reference: Tensor, correction: Tensor) -> Tensor:
    """Boxes cxcywh in 0..1: the correction (..., 4) added to the reference (..., 2 or 4) in logit space."""
    known = inverse_sigmoid(reference)
    correction = correction.float()  # under autocast too: places need more digits than bfloat16 has
    size = known.shape[-1]
    return torch.cat((correction[..., :size] + known, correction[..., size:]), dim=-1).sigmoid()
