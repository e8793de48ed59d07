"""The protocol of a network family: what training, inference, export and the rest know of a network.

Images and targets go in; masks, classes and losses come out. `model.network.families.FAMILIES` lists the families.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from model.network.backbone import Backbone
from model.network.config import NetworkConfig
from model.network.outputs import PanopticOutput
from model.network.queries import QuerySelector


class QueryTargets(Protocol):
    """Ground truth of one image for matched queries: M segments, padded to the batch's (H, W)."""

    @property
    def query_masks(self) -> Tensor:
        """(M, H, W) bool."""

    @property
    def query_labels(self) -> Tensor:
        """(M,) int64, things before stuff."""


class Objective(Protocol):
    """What a micro-batch is trained for, with the numbers that make sums over an optimizer step means."""

    @property
    def targets(self) -> Sequence[QueryTargets]:
        """One for each image of the micro-batch."""

    @property
    def deep_supervision(self) -> bool:
        """Supervise the masks of all layers, not of the last alone."""

    @property
    def per_segment(self) -> float:
        """1 / segments for matched queries in the whole step."""

    @property
    def image_fraction(self) -> float:
        """Images of this micro-batch as a fraction of those in the whole step."""

    @property
    def matched(self) -> QuerySelector:
        """Selects the queries that Panoptic SegFormer's first matching assigns to segments."""

    def panoptic_losses(self, output: PanopticOutput) -> dict[str, Tensor]:
        """Compute Panoptic SegFormer's weighted loss terms."""


class Segmenter(nn.Module):
    """A network of any family.

    Attributes:
        config: all its sizes.
        paper: a link to the family's paper, its authors and year.
        num_things: labels below are things, the others stuff.
        backbone: what ImageNet weights are for; None where the family has none.
        side_multiple: what sides of images are padded to multiples of; 0 if they are not.
        not_orthogonal: parts of names of the matrices that Muon must leave to AdamW: embeddings, heads, geometry.
        recomputed: layers that keep only their inputs with activation checkpointing.
        has_boxes: True if queries predict boxes (cxcywh), False if boxes are those of the masks.
    """

    config: NetworkConfig
    paper: str
    num_things: int
    backbone: Backbone | None
    side_multiple: int = 0
    not_orthogonal: tuple[str, ...]
    recomputed: tuple[type[nn.Module], ...]
    has_boxes: bool

    @property
    def backbone_name(self) -> str:
        """Key in `BACKBONES`; "none" for a family without backbones, whatever `config.backbone` is."""
        return self.backbone.name if self.backbone else "none"

    @abstractmethod
    def segment(self, images: Tensor, mask_layer: int = 0, auxiliary: bool = False) -> PanopticOutput:
        """Find masks and classes for inference.

        Args:
            images: (B, 3, H, W) normalized, without padding.
            mask_layer: decoder block whose masks are the result, counted from 1; 0 means the final masks.
            auxiliary: also compute what the layers before the last predict, as published code does.
        """

    @abstractmethod
    def losses(
        self, images: Tensor, image_sizes: tuple[tuple[int, int], ...], objective: Objective
    ) -> dict[str, Tensor]:
        """Compute the weighted loss terms of a micro-batch by name; their sum over a step's micro-batches is minimized.

        Args:
            images: (B, 3, H, W) normalized, padded at the right and bottom.
            image_sizes: (height, width) in pixels of each image without padding.
            objective: its targets.
        """
