"""Data that the parts of the network hand to each other.

Letters: B batch, D location layers, K mask decoder blocks, Q queries, N selected queries, T classes of the queries
(things; with joint matching things, then stuff), S stuff classes (in `Memory`: flattened pixels of all levels),
C channels, L levels, P = `NetworkConfig.location_size`: 4 for boxes (cxcywh), 2 for centers (xy), 3 for centers and
areas.

Without auxiliary outputs D = 1 for class logits, K = 1, and `MaskOutput` has one set of masks: all of the last layers.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

SHARPNESS = 4.0
"""Slope of the logit of a refined mask over the mask of the attention, whose 0.5 stays 0.5."""
Shapes = tuple[tuple[int, int], ...]
"""(height, width) of every level, finest first."""


@dataclass(frozen=True)
class Memory:
    """Encoder output, all levels flattened row by row and joined, finest first."""

    tokens: Tensor  # (B, S, C)
    position: Tensor  # (B, S, C) encoded position and level of every token
    padding_mask: Tensor | None  # (B, S) bool, True = padding; None where no image has any
    spatial_shapes: Shapes
    valid_ratios: Tensor  # (B, L, 2) fraction of the (width, height) of each level that is image, 0..1

    def maps(self) -> list[Tensor]:
        """Split the tokens into maps (B, C, h, w), one per level."""
        by_level = torch.split(self.tokens, [height * width for height, width in self.spatial_shapes], dim=1)
        return [
            tokens.transpose(1, 2).reshape(tokens.shape[0], -1, *shape)
            for tokens, shape in zip(by_level, self.spatial_shapes, strict=True)
        ]


@dataclass(frozen=True)
class Pyramid:
    """All feature maps that a mask head may use."""

    features: tuple[Tensor, ...]  # (B, C', h, w) of the backbone, finest first
    levels: list[Tensor]  # (B, C, h, w) of the neck, finest first
    memory: Memory


@dataclass(frozen=True)
class StartingQueries:
    """Initial queries of the location decoder."""

    states: Tensor  # (B, Q, C)
    position: Tensor  # (B, Q, C)
    reference: Tensor | None  # (B, Q, 2 or P) xy or as boxes, 0..1; None for DETR's queries, which have none


@dataclass(frozen=True)
class Proposals:
    """Box proposals of all encoder tokens, where queries start from the encoder."""

    class_logits: Tensor  # (B, S, T)
    boxes: Tensor  # (B, S, P) 0..1 of the image without its padding


@dataclass(frozen=True)
class LocationOutput:
    """Predictions of every layer of the location decoder."""

    queries: Tensor  # (B, Q, C) input of the mask decoder: the last states, or the initial ones where D = 0
    states: Tensor  # (D, B, Q, C)
    class_logits: Tensor | None  # (D, B, Q, T); None where the mask decoder classifies
    boxes: Tensor  # (D, B, Q, P) 0..1 of the image without its padding
    initial_reference: Tensor | None  # (B, Q, 2 or P) xy or as boxes, 0..1: reference points of the first layer

    @property
    def last_class_logits(self) -> Tensor:
        """(B, Q, T) of the last layer, where the location decoder classifies."""
        assert self.class_logits is not None
        return self.class_logits[-1]


@dataclass(frozen=True)
class QuerySelection:
    """Queries that stand for segments; images with fewer than N are padded by entries with `valid` False."""

    indices: Tensor  # (B, N) int64, 0..Q-1; a query may repeat
    labels: Tensor  # (B, N) int64, 0..T-1
    scores: Tensor  # (B, N) class probability
    valid: Tensor  # (B, N) bool
    mask_indices: Tensor  # (B, N) int64, of the mask of each in `PanopticOutput.query_masks`


@dataclass(frozen=True)
class Refinement:
    """Pixel features, and what queries look for in them, by which masks are made finer; see `MaskRefiner`."""

    pixels: Tensor  # (B, E, h0, w0), h0 and w0 half of the image's sides
    queries: Tensor  # (B, N, E)

    def of(self, image: int, chosen: Tensor | slice) -> "Refinement":
        """Take those of one image and some of its queries, without the batch dimension."""
        return Refinement(self.pixels[image], self.queries[image, chosen])

    def logits(self, masks: Tensor) -> Tensor:
        """Refine masks (B, N, h1, w1), or (N, h1, w1) of one image, to logits (..., N, h0, w0)."""
        size = self.pixels.shape[-2:]
        planes = masks.flatten(0, -3)[:, None]
        enlarged = F.interpolate(planes, size=size, mode="bilinear", align_corners=False).view(*masks.shape[:-2], *size)
        products = torch.einsum("...ne,...ehw->...nhw", self.queries, self.pixels)
        return SHARPNESS * (enlarged - 0.5) + products


@dataclass(frozen=True)
class MaskOutput:
    """Masks of one decoder: those of its K blocks and, last, of its tail, which are final unless they are refined."""

    masks: Tensor  # (K + 1, B, N, h1, w1) not negative: after ReLU without an upper bound, or after sigmoid
    queries: Tensor  # (K, B, N, C)
    refinement: Refinement | None = None

    def final(self) -> Tensor:
        """The masks (B, N, h, w) that are the result, not negative."""
        masks = self.masks[-1]
        return masks if self.refinement is None else self.refinement.logits(masks).sigmoid()

    def final_of(self, image: int, chosen: Tensor | slice = slice(None)) -> Tensor:
        """The same (N, h, w) for some queries of one image."""
        masks = self.masks[-1, image, chosen]
        return masks if self.refinement is None else self.refinement.of(image, chosen).logits(masks).sigmoid()


class SegmentQueries(NamedTuple):
    """Output of a mask head for the queries."""

    selection: QuerySelection
    masks: MaskOutput
    class_logits: Tensor | None  # (K, B, Q, T) where the mask decoder classifies


@dataclass(frozen=True)
class PanopticOutput:
    """Everything that losses and merging need; parts of an option are None where it is off."""

    num_things: int  # labels below are things, the others stuff
    memory: Memory
    location: LocationOutput
    selection: QuerySelection
    query_masks: MaskOutput  # of the selected queries; of all Q where the mask decoder classifies
    query_class_logits: Tensor | None  # (K, B, Q, T) where the mask decoder classifies
    stuff: MaskOutput | None  # N = stuff classes, query c stands for class c
    stuff_logits: Tensor | None  # (K, B, S)
    proposals: Proposals | None
    token_logits: Tensor | None  # (B, S, T + S) class logits of every encoder token
    total_queries: int | None = None  # Q; None where `selection.indices` are not known, but numbered by rank

    @classmethod
    def of_masks(
        cls,
        num_things: int,
        labels: Tensor,
        scores: Tensor,
        masks: Tensor,
        queries: Tensor,
        boxes: Tensor | None = None,
        stuff: MaskOutput | None = None,
        stuff_logits: Tensor | None = None,
        indices: Tensor | None = None,
        total_queries: int | None = None,
    ) -> "PanopticOutput":
        """Make an output that holds what merging needs, and nothing for losses.

        Args:
            num_things: labels below are things.
            labels: (B, N) of the selected queries.
            scores: (B, N) their probabilities.
            masks: (B, N, h, w) not negative.
            queries: (B, N, C) their states, or empty.
            boxes: (B, N, 4) cxcywh in 0..1, if they predict boxes.
            stuff: masks of stuff classes with queries of their own.
            stuff_logits: (1, B, S) that go with them.
            indices: (B, N) which of the network's queries were selected, if they are known and predict no boxes.
            total_queries: Q, which goes with them.
        """
        order = torch.arange(labels.shape[1], device=labels.device).expand_as(labels)
        none = scores.new_empty(0)
        located = none.new_empty(0, *labels.shape, 4) if boxes is None else boxes[None]
        return cls(
            num_things=num_things,
            memory=Memory(none, none, none, (), none),
            location=LocationOutput(queries, none, None, located, None),
            selection=QuerySelection(
                order if indices is None else indices,
                labels,
                scores,
                torch.ones_like(labels, dtype=torch.bool),
                order,
            ),
            query_masks=MaskOutput(masks[None], queries[None]),
            query_class_logits=None,
            stuff=stuff,
            stuff_logits=stuff_logits,
            proposals=None,
            token_logits=None,
            total_queries=total_queries,
        )
