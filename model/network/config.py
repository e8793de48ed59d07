"""The network as data: sizes, and the options for version 1, the ablations and the baselines of the papers.

The defaults are the published R50 network (version 2); `model.published.models` holds all of the papers' models.
Every field is a primitive, so the class doubles as the typed schema of the `model` section of `params.yaml`.
"""

from dataclasses import dataclass, field
from typing import Annotated

from panoptic.runtime.ranges import Name, OneOf, PartialFraction, Within, require_ranges
from panoptic.runtime.settings import NO_INFLUENCE

PANOPTIC_SEGFORMER = "panoptic_segformer"
MASK_LEVELS = 3  # the mask decoders attend to the three finest levels
Layers = Annotated[int, Within(0, 256)]
PositiveLayers = Annotated[int, Within(1, 256)]
Queries = Annotated[int, Within(1, 100_000)]


@dataclass(frozen=True)
class NetworkConfig:
    """All sizes of one network, except for the class counts, which come from the data.

    Raises:
        ValueError: invalid size or option; names the field and what it accepts.
    """

    family: Name = PANOPTIC_SEGFORMER
    """Key in `model.network.families.FAMILIES`. The others than this one find things and stuff by one set of queries;
    the head of each family's file says which of the sizes below it has."""
    backbone: Name = "resnet50"
    """Key in `model.network.backbones.BACKBONES`."""
    backbone_norm: Annotated[str, OneOf(("frozen", "batch", "group"))] = "frozen"
    """Norm of ResNets. frozen: batch norm with fixed statistics and affine; batch: trained; group: group norm."""
    frozen_stages: Layers = 1
    """0 trains everything; n freezes the stem and the first n stages."""
    drop_path: PartialFraction = 0.0
    """Stochastic depth of PVTv2 and Swin in training; the published PVTv2-B5 has 0.1, Swin-L 0.3."""
    stuff: Annotated[str, OneOf(("decoupled", "joint", "none"))] = "decoupled"
    """decoupled: one query per stuff class and a decoder of their own (version 2); joint: one set of queries for things
    and stuff, matched together (version 1, DETR); none: things only, which is instance segmentation."""
    classes_from: Annotated[str, OneOf(("location", "masks"))] = "location"
    """Decoder that classifies the queries: location (version 2), or masks, after its blocks (version 1)."""
    location_target: Annotated[str, OneOf(("box", "center", "center_scale"))] = "box"
    """box: cxcywh; center: the mask's center of mass, which needs no boxes; center_scale: also the mask's area."""
    attention: Annotated[str, OneOf(("deformable", "dense"))] = "deformable"
    """deformable: on all levels; dense: on the coarsest level only, as in DETR."""
    mask_head: Annotated[str, OneOf(("attention", "fpn"))] = "attention"
    """attention: the paper's mask decoder; fpn: DETR's attention maps, refined by the backbone's finer maps."""
    mask_refinement: Annotated[str, OneOf(("none", "stem"))] = "none"
    """none: masks of the finest level's size, as published; stem: refined at half the image's size by a light read-out
    of the pixels (`model.network.refinement`)."""
    channels: Annotated[int, Within(1, 8192)] = 256
    heads: Annotated[int, Within(1, 1024)] = 8
    levels: Annotated[int, Within(MASK_LEVELS, 16)] = 4
    """Feature levels of encoder and location decoder: three from the backbone, the rest by strided convolution."""
    points: Annotated[int, Within(1, 256)] = 4
    """Sampling points per head and level of deformable attention."""
    encoder_layers: PositiveLayers = 6
    location_layers: Layers = 6
    """With 0 the mask decoder gets the initial queries, and has to classify them."""
    thing_mask_layers: PositiveLayers = 4
    """Blocks of the mask decoder for thing queries, or, with joint matching, for all queries."""
    stuff_mask_layers: PositiveLayers = 6
    """Blocks of the mask decoder for stuff."""
    feedforward: Annotated[int, Within(1, 65_536)] = 1024
    """Hidden width of encoder and location decoder."""
    mask_feedforward: Annotated[int, Within(1, 65_536)] = 1024
    """Hidden width of the mask decoders."""
    queries: Queries = 300
    """Queries of the location decoder, for things; with joint matching, for things and stuff."""
    selected_queries: Queries = field(default=100, metadata=NO_INFLUENCE)  # on weights
    """Number of (query, class) pairs, those of the highest probability, that are merged at inference."""
    dropout: PartialFraction = 0.1
    """Dropout in attention and feed-forward of encoder and location decoder; the mask decoders have none."""
    query_initialization: Annotated[str, OneOf(("learned", "encoder"))] = "learned"
    """learned: parameters, as published; encoder: the most probable encoder tokens (`model.network.queries`)."""
    token_classes: bool = False
    """Classify encoder tokens too, for the auxiliary loss `train.losses.token_class`."""

    def __post_init__(self) -> None:
        require_ranges(self, "model")
        self._require(self.channels % 32 == 0, "channels", "a multiple of 32, the groups of the neck's norm")
        self._require(self.channels % self.heads == 0, "heads", f"a divisor of channels = {self.channels}")
        self._require_parts_that_fit()

    def _require_parts_that_fit(self) -> None:
        if self.family != PANOPTIC_SEGFORMER:
            self._require(self.location_layers > 0, "location_layers", f"at least 1 with the family {self.family!r}")
            self._require(self.mask_refinement == "none", "mask_refinement", f"none with the family {self.family!r}")
            return  # the options below are not theirs
        if self.location_layers == 0:
            self._require(self.classes_from == "masks", "classes_from", "masks, as there are no location layers")
        if self.attention == "dense":
            self._require(self.mask_head == "fpn", "mask_head", "fpn, as dense attention has one level only")
            self._require(self.location_target == "box", "location_target", "box with dense attention")
        if self.mask_refinement != "none":
            self._require(self.mask_head == "attention", "mask_head", "attention with mask_refinement")
            self._require(self.classes_from == "location", "classes_from", "location with mask_refinement")
        if self.mask_head == "fpn":
            self._require(self.stuff != "decoupled", "stuff", "joint or none with the mask head fpn")
            self._require(self.classes_from == "location", "classes_from", "location with the mask head fpn")

    @property
    def stuff_queries(self) -> str:
        """Queries that find the stuff, in the terms of `stuff`, which is an option of Panoptic SegFormer alone."""
        return self.stuff if self.family == PANOPTIC_SEGFORMER else "joint"

    @property
    def needs_finer_map(self) -> bool:
        """True if masks are made from a finer map of the backbone than the papers' three."""
        return self.mask_head == "fpn" or self.family != PANOPTIC_SEGFORMER

    @property
    def mask_layers(self) -> int:
        """Number of decoder blocks whose masks can be the result at inference; the mask head fpn has none."""
        if self.family != PANOPTIC_SEGFORMER:
            return self.location_layers
        if self.mask_head == "fpn":
            return 0
        return max(self.thing_mask_layers, self.stuff_mask_layers if self.stuff == "decoupled" else 0)

    @property
    def location_size(self) -> int:
        """Numbers that locate a query: 4 of a box (cxcywh), 2 of a center (xy), 3 with the area."""
        return {"box": 4, "center": 2, "center_scale": 3}[self.location_target]

    def _require(self, condition: bool, name: str, expected: str) -> None:
        if not condition:
            raise ValueError(f"model.{name} is {getattr(self, name)!r}; expected {expected}")
