"""What the parts of the network hand to each other.

Letters: B batch, D location layers, K mask decoder blocks, Q thing queries, N selected queries, T thing
classes, S stuff classes (in `Memory`: flattened pixels of all levels), C channels, L levels.
"""

from dataclasses import dataclass

from torch import Tensor

Shapes = tuple[tuple[int, int], ...]
"""(height, width) of every level, finest first."""


@dataclass(frozen=True)
class Memory:
    """Encoder output, all levels flattened row by row and joined, finest first."""

    tokens: Tensor  # (B, S, C)
    padding_mask: Tensor  # (B, S) bool, True = padding
    spatial_shapes: Shapes
    valid_ratios: Tensor  # (B, L, 2) share of the (width, height) of each level that is picture, 0..1


@dataclass(frozen=True)
class StartingQueries:
    """What the location decoder starts from."""

    states: Tensor  # (B, Q, C)
    position: Tensor  # (B, Q, C)
    reference: Tensor  # (B, Q, 2 or 4) xy or cxcywh, 0..1


@dataclass(frozen=True)
class Proposals:
    """What every encoder token proposes where queries start from the encoder."""

    class_logits: Tensor  # (B, S, T)
    boxes_cxcywh: Tensor  # (B, S, 4) 0..1 of the picture without its padding


@dataclass(frozen=True)
class LocationOutput:
    """What every location decoder layer says about the thing queries."""

    states: Tensor  # (D, B, Q, C)
    class_logits: Tensor  # (D, B, Q, T)
    boxes_cxcywh: Tensor  # (D, B, Q, 4) 0..1 of the picture without its padding
    initial_reference: Tensor  # (B, Q, 2 or 4) xy or cxcywh, 0..1: where the first layer looks


@dataclass(frozen=True)
class QuerySelection:
    """Thing queries that go to the mask decoder; images with fewer than N are filled up, `valid` False."""

    indices: Tensor  # (B, N) int64, 0..Q-1; a query may repeat
    labels: Tensor  # (B, N) int64, 0..T-1
    scores: Tensor  # (B, N) class probability
    valid: Tensor  # (B, N) bool


@dataclass(frozen=True)
class MaskOutput:
    """Masks of one decoder: of its K blocks and, last, of its tail. The tail's are the final ones."""

    masks: Tensor  # (K + 1, B, N, h1, w1) after ReLU: not negative, no upper bound, no sigmoid to follow
    queries: Tensor  # (K, B, N, C)


@dataclass(frozen=True)
class PanopticOutput:
    """Everything that losses and merging need. The last two belong to options and are None where these are off."""

    memory: Memory
    location: LocationOutput
    selection: QuerySelection
    things: MaskOutput  # N = selected queries
    stuff: MaskOutput  # N = stuff classes, query c stands for class c
    stuff_logits: Tensor  # (K, B, S)
    proposals: Proposals | None
    token_logits: Tensor | None  # (B, S, T + S) class logits of every encoder token
