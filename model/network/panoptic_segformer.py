"""Panoptic SegFormer (Li et al., CVPR 2022, figure 2), version 2, as its published checkpoints compute it.

images -> backbone -> neck -> encoder -> memory -> location decoder -> selected queries -> query masks
                                         memory ---------------------> stuff queries ----> stuff masks

`NetworkConfig` also makes of it version 1, the papers' ablations, and the baselines DETR and D-DETR-MS.
"""

from dataclasses import replace

from torch import Tensor, nn

from model.network.backbone import Backbone
from model.network.baselines.detr import CoarsestLevel, DenseEncoder
from model.network.baselines.fpn_mask_head import FpnMaskDecoder
from model.network.config import MASK_LEVELS, NetworkConfig
from model.network.encoder import Encoder
from model.network.layers import class_head
from model.network.location_decoder import LearnedQueries, LocationDecoder
from model.network.mask_decoder import MaskDecoder, StuffMaskDecoder
from model.network.neck import Neck
from model.network.outputs import LocationOutput, MaskOutput, Memory, PanopticOutput, QuerySelection
from model.network.queries import EncoderQueries, QuerySelector, gather_queries


class PanopticSegFormer(nn.Module):
    """The whole network.

    Raises:
        ValueError: no class for one of its decoders.
    """

    def __init__(self, config: NetworkConfig, num_things: int, num_stuff: int) -> None:
        super().__init__()
        _require_classes(config, num_things, num_stuff)
        self.config = config
        self.num_things = num_things
        classes = num_things + num_stuff if config.stuff == "joint" else num_things
        dense, from_encoder = config.attention == "dense", config.query_initialization == "encoder"
        self.backbone = Backbone(config)
        coarse = self.backbone.channels[self.backbone.finer :]
        self.neck = CoarsestLevel(coarse, config) if dense else Neck(coarse, config)
        self.encoder = DenseEncoder(config) if dense else Encoder(config)
        self.queries = EncoderQueries(config, classes) if from_encoder else LearnedQueries(config)
        self.location_decoder = LocationDecoder(config, classes)
        self.query_masks = (
            FpnMaskDecoder(config, self._fpn_channels())
            if config.mask_head == "fpn"
            else MaskDecoder(config, config.thing_mask_layers, self_attention=False)
        )
        # One head for all blocks: only so does version 1 have the parameters that its paper gives.
        self.query_classes = class_head(config.channels, classes) if config.classes_from == "masks" else None
        self.stuff_masks = StuffMaskDecoder(config, num_stuff) if config.stuff == "decoupled" else None
        self.token_classes = nn.Linear(config.channels, num_things + num_stuff) if config.token_classes else None

    def forward(
        self,
        images: Tensor,
        image_sizes: tuple[tuple[int, int], ...] | None,
        select: QuerySelector,
        mask_layer: int = 0,
        auxiliary: bool = True,
    ) -> PanopticOutput:
        """Segment a batch.

        Args:
            images: (B, 3, H, W) normalized, padded at the right and bottom.
            image_sizes: (height, width) in pixels of each image without padding; None = no padding.
            select: chooses the queries that stand for segments.
            mask_layer: the block whose masks are the result, counted from 1; 0 is the tail.
            auxiliary: whether masks and classes of the layers before are given too, as losses need them.
        """
        features = self.backbone(images)
        levels = self.neck(features[self.backbone.finer :])
        memory = self.encoder(levels, image_sizes, (images.shape[-2], images.shape[-1]))
        start, proposals = self.queries(memory)
        location = self.location_decoder(memory, start, auxiliary)
        if location.class_logits is not None:
            query_class_logits = None
            selection = select(location.class_logits[-1], location.places)
            queries = gather_queries(location.queries, selection)
            query_masks = self._masks(queries, memory, features, levels, mask_layer, auxiliary)
        else:
            decode = self._masks_then_classes if auxiliary else self._classes_then_masks
            selection, query_masks, query_class_logits = decode(location, memory, select, mask_layer)
        stuff, stuff_logits = None, None
        if self.stuff_masks is not None:
            stuff, stuff_logits = self.stuff_masks(memory, mask_layer, auxiliary)
        return PanopticOutput(
            num_things=self.num_things,
            memory=memory,
            location=location,
            selection=selection,
            query_masks=query_masks,
            query_class_logits=query_class_logits,
            stuff=stuff,
            stuff_logits=stuff_logits,
            proposals=proposals,
            token_logits=self.token_classes(memory.tokens) if self.token_classes is not None else None,
        )

    def _masks(
        self,
        queries: Tensor,
        memory: Memory,
        features: tuple[Tensor, ...],
        levels: list[Tensor],
        mask_layer: int,
        auxiliary: bool,
    ) -> MaskOutput:
        """Masks of queries (B, N, C) by the network's mask head."""
        if isinstance(self.query_masks, MaskDecoder):
            masks: MaskOutput = self.query_masks(queries, memory, last_layer=mask_layer, auxiliary=auxiliary)
            return masks
        assert not mask_layer, "an FPN has no layers to read masks from"
        if self.config.attention == "dense":
            masks = self.query_masks(queries, memory, 0, levels[0], features[:-1])
        else:
            finest, *coarser = memory.maps()[:MASK_LEVELS]
            finest = features[0] if self.backbone.finer else finest
            level = MASK_LEVELS - 1
            masks = self.query_masks(queries, memory, level, levels[level], (finest, *coarser))
        return masks

    def _fpn_channels(self) -> tuple[int, ...]:
        """Of the maps that refine the FPN's masks, finest first.

        DETR has the backbone's. With deformable attention they are the memory's at strides 16 and 32 and the backbone's
        finest: with these D-DETR-MS has the multiply-adds that its paper prints.
        """
        if self.config.attention == "dense":
            return self.backbone.channels[:-1]
        finest = self.backbone.channels[0] if self.backbone.finer else self.config.channels
        return (finest, *[self.config.channels] * (MASK_LEVELS - 1))

    def _masks_then_classes(
        self, location: LocationOutput, memory: Memory, select: QuerySelector, mask_layer: int
    ) -> tuple[QuerySelection, MaskOutput, Tensor]:
        """Masks of all queries, of which some are selected after: the mask of each is where the query is."""
        assert self.query_classes is not None
        masks = self.query_masks(location.queries, memory, last_layer=mask_layer)
        class_logits = self.query_classes(masks.queries)
        selection = select(class_logits[-1], location.places)
        return replace(selection, slots=selection.indices), masks, class_logits

    def _classes_then_masks(
        self, location: LocationOutput, memory: Memory, select: QuerySelector, mask_layer: int
    ) -> tuple[QuerySelection, MaskOutput, Tensor]:
        """The same without what is not read out: masks of the selected queries only."""
        assert self.query_classes is not None
        assert isinstance(self.query_masks, MaskDecoder)
        queries, looking = self.query_masks.decode(location.queries, memory, last_layer=mask_layer)
        class_logits = self.query_classes(queries)[None]
        selection = select(class_logits[-1], location.places)
        masks = self.query_masks.read(gather_queries(looking, selection), memory, mask_layer)
        return selection, MaskOutput(masks[None], queries[None]), class_logits


def _require_classes(config: NetworkConfig, num_things: int, num_stuff: int) -> None:
    needed = {
        "decoupled": (num_things and num_stuff, "at least one of each, as there is a decoder for each"),
        "joint": (num_things + num_stuff, "at least one"),
        "none": (num_things, "at least one thing"),
    }
    enough, expected = needed[config.stuff]
    if not enough:
        raise ValueError(
            f"the dataset has {num_things} thing and {num_stuff} stuff categories; "
            f"model.stuff '{config.stuff}' needs {expected} (`isthing` in its `categories`)"
        )
