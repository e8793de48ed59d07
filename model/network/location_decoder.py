"""The location decoder (paper, section 3.3): queries learn the locations and classes of their segments.

Unlike the paper's text, its class heads are the network's thing classifier and stay at inference.
"""

import torch
from torch import Tensor, nn

from model.network.baselines.detr import DenseLocationLayer
from model.network.config import NetworkConfig
from model.network.deformable import DeformableAttention
from model.network.layers import FeedForward, box_head, class_head, inverse_sigmoid, xavier_matrices
from model.network.outputs import LocationOutput, Memory, StartingQueries

WIDTH_HEIGHT_BIAS = -2.0  # sigmoid 0.12: boxes are initially small


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

    def forward(self, states: Tensor, position: Tensor, reference: Tensor, memory: Memory) -> Tensor:
        """Update states (B, Q, C) with position (B, Q, C) around reference points or boxes (B, Q, 2, 3 or 4)."""
        reference = reference[..., : reference.shape[-1] // 2 * 2]  # an area alone does not scale the offsets
        with_position = states + position
        attended, _ = self.self_attention(with_position, with_position, states, need_weights=False)
        states = self.self_norm(states + self.dropout(attended))
        ratios = memory.valid_ratios.repeat(1, 1, reference.shape[-1] // 2)
        attended = self.cross_attention(
            states + position,
            reference[:, :, None] * ratios[:, None],
            memory.tokens,
            memory.padding_mask,
            memory.spatial_shapes,
        )
        updated: Tensor = self.feedforward(self.cross_norm(states + self.dropout(attended)))
        return updated


class LearnedQueries(nn.Module):
    """Queries as published: parameters, whose position, with deformable attention, also gives reference points."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.queries, 2 * config.channels)  # position, then content
        self.reference_points: nn.Linear | None = None
        if config.attention == "deformable":
            self.reference_points = nn.Linear(config.channels, 2)
            nn.init.xavier_uniform_(self.reference_points.weight)
            nn.init.zeros_(self.reference_points.bias)

    def forward(self, memory: Memory) -> tuple[StartingQueries, None]:
        """Give every image of the batch the same queries."""
        position, states = self.embedding.weight.expand(memory.tokens.shape[0], -1, -1).chunk(2, dim=-1)
        reference = self.reference_points(position).float().sigmoid() if self.reference_points is not None else None
        return StartingQueries(states, position, reference), None


class LocationDecoder(nn.Module):
    """Layers that each refine the boxes of the one before; every layer has class and box heads of its own.

    With dense attention it is DETR's decoder: its layers share the heads and a final norm, and refine no boxes.
    """

    def __init__(self, config: NetworkConfig, classes: int) -> None:
        super().__init__()
        channels, dense = config.channels, config.attention == "dense"
        self.location_size = config.location_size
        self.layers = nn.ModuleList(
            DenseLocationLayer(config) if dense else LocationLayer(config) for _ in range(config.location_layers)
        )
        self.norm = nn.LayerNorm(channels) if dense else None
        heads = 1 if dense else config.location_layers
        classifies = config.classes_from == "location"
        self.class_heads = nn.ModuleList(class_head(channels, classes) for _ in range(heads if classifies else 0))
        biases = [0.0 if dense or layer else WIDTH_HEIGHT_BIAS for layer in range(heads)]
        # Named as in earlier weight files.
        self.place_heads = nn.ModuleList(box_head(channels, config.location_size, bias) for bias in biases)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        xavier_matrices(self.layers)
        for layer in self.layers.modules():
            if isinstance(layer, DeformableAttention):
                layer.reset_parameters()

    def forward(self, memory: Memory, start: StartingQueries, auxiliary: bool = True) -> LocationOutput:
        """Compute states, boxes and classes after every layer; without `auxiliary`, only the last classes."""
        queries, reference = start.states, start.reference
        states, boxes, logits = [], [], []
        for number, layer in enumerate(self.layers):
            queries = layer(queries, start.position, reference, memory)
            normed = queries if self.norm is None else self.norm(queries)
            head = 0 if self.norm is not None else number
            states.append(normed)
            boxes.append(refine(reference, self.place_heads[head](normed)))
            if self.norm is None:
                reference = boxes[-1].detach()
            if len(self.class_heads) and (auxiliary or number == len(self.layers) - 1):
                logits.append(self.class_heads[head](normed))
        if not states:
            none = queries.new_empty(0, *queries.shape)
            return LocationOutput(queries, none, None, none[..., : self.location_size], start.reference)
        class_logits = torch.stack(logits) if logits else None
        return LocationOutput(states[-1], torch.stack(states), class_logits, torch.stack(boxes), start.reference)


def refine(reference: Tensor | None, correction: Tensor) -> Tensor:
    """Add a correction (..., P) to a reference (..., 2 or P), if any, in logit space; boxes or centers in 0..1."""
    correction = correction.float()  # under autocast too: boxes need more digits than bfloat16 has
    if reference is None:
        return correction.sigmoid()
    known = inverse_sigmoid(reference)
    size = known.shape[-1]
    return torch.cat((correction[..., :size] + known, correction[..., size:]), dim=-1).sigmoid()
