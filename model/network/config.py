"""Sizes of Panoptic SegFormer as data; the defaults are the published R50 network.

Every field is a primitive, so the class doubles as the typed schema of the `model` section of `params.yaml`.
"""

from dataclasses import dataclass

BACKBONE_NORMS = ("frozen", "batch", "group")
QUERY_INITIALISATIONS = ("learned", "encoder")
SIZES = (
    "channels",
    "heads",
    "points",
    "encoder_layers",
    "location_layers",
    "thing_mask_layers",
    "stuff_mask_layers",
    "feedforward",
    "queries",
    "selected_queries",
)
MASK_LEVELS = 3  # the mask decoders look at the three finest levels


@dataclass(frozen=True)
class NetworkConfig:
    """All sizes of one network. The class counts are not among them: they come from the data.

    Raises:
        ValueError: a size that no network can have, with the field and what it accepts.
    """

    backbone: str = "resnet50"
    """A row of `model.network.backbone.BACKBONES`."""
    backbone_norm: str = "frozen"
    """frozen: batch norm keeps its statistics and affine; batch: trainable batch norm; group: group norm instead."""
    frozen_stages: int = 1
    """0 trains everything; n freezes the stem and the first n stages."""
    channels: int = 256
    heads: int = 8
    levels: int = 4
    """Of encoder and location decoder: three of the backbone, the rest by strided convolution."""
    points: int = 4
    """Sampling points per head and level of deformable attention."""
    encoder_layers: int = 6
    location_layers: int = 6
    thing_mask_layers: int = 4
    stuff_mask_layers: int = 6
    feedforward: int = 1024
    queries: int = 300
    """Thing queries of the location decoder."""
    selected_queries: int = 100
    """At inference the mask decoder sees this many (query, class) pairs of the highest probability."""
    dropout: float = 0.1
    """In attention and feed-forward of encoder and location decoder; the mask decoders have none."""
    query_initialisation: str = "learned"
    """learned: parameters, as published; encoder: the most probable encoder tokens (`model.network.proposals`)."""
    token_classes: bool = False
    """Whether encoder tokens are classified too, for the auxiliary loss `train.losses.token_class`."""

    def __post_init__(self) -> None:
        for name in SIZES:
            self._require(getattr(self, name) >= 1, name, "at least 1")
        self._require(self.frozen_stages >= 0, "frozen_stages", "0 (train all) or more")
        self._require(self.channels % 32 == 0, "channels", "a multiple of 32, the groups of the neck's norm")
        self._require(self.channels % self.heads == 0, "heads", f"a divisor of channels = {self.channels}")
        self._require(self.levels >= MASK_LEVELS, "levels", f"at least {MASK_LEVELS}")
        self._require(0.0 <= self.dropout < 1.0, "dropout", "0 <= dropout < 1")
        self._require(self.backbone_norm in BACKBONE_NORMS, "backbone_norm", f"one of {BACKBONE_NORMS}")
        self._require(
            self.query_initialisation in QUERY_INITIALISATIONS,
            "query_initialisation",
            f"one of {QUERY_INITIALISATIONS}",
        )

    def _require(self, condition: bool, name: str, expected: str) -> None:
        if not condition:
            raise ValueError(f"model.{name} is {getattr(self, name)!r}; expected {expected}")
