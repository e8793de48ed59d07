"""Panoptic SegFormer (Li et al., CVPR 2022, figure 2), version 2, as its published checkpoints compute it.

images -> backbone -> neck -> encoder -> memory -> location decoder -> selected queries -> query masks
                                         memory ---------------------> stuff queries ----> stuff masks

Other values in `NetworkConfig` turn it into version 1, the papers' ablations, or the baselines DETR and D-DETR-MS.
"""

import torch
from torch import Tensor, nn

from model.network.backbone import Backbone
from model.network.baselines.detr import CoarsestLevel, DenseEncoder, DenseEncoderLayer, DenseLocationLayer
from model.network.baselines.fpn_mask_head import FpnQueryMasks
from model.network.config import NetworkConfig
from model.network.encoder import Encoder, EncoderLayer
from model.network.layers import class_head
from model.network.location_decoder import LearnedQueries, LocationDecoder, LocationLayer
from model.network.mask_decoder import MaskBlock
from model.network.mask_heads import (
    ClassifiedQueryMasks,
    Classifier,
    SelectedQueryMasks,
    StuffMaskDecoder,
    StuffMasks,
    no_classes,
    no_stuff,
)
from model.network.neck import Neck
from model.network.outputs import PanopticOutput, Pyramid
from model.network.queries import EncoderQueries, QuerySelector, every_query, top_queries
from model.network.refinement import MaskRefiner, Refine, as_they_are
from model.network.segmenter import Objective, Segmenter


class PanopticSegFormer(Segmenter):
    """The whole network, for images of any size.

    `not_orthogonal` names embeddings, heads, the geometry of attention, and the maps from attention to masks.

    Raises:
        ValueError: one of its decoders has no class to predict.
    """

    backbone: Backbone
    paper = "[Panoptic SegFormer](https://arxiv.org/abs/2109.03814) (Li et al., CVPR 2022)"
    recomputed = EncoderLayer, DenseEncoderLayer, LocationLayer, DenseLocationLayer, MaskBlock
    not_orthogonal = (
        *("embedding", "class_head", "place_head", "token_classes", "query_classes"),
        *("sampling_offsets", "attention_weights", ".cross.levels.", ".join."),
    )

    def __init__(self, config: NetworkConfig, num_things: int, num_stuff: int) -> None:
        super().__init__()
        _require_classes(config, num_things, num_stuff)
        self.config = config
        self.num_things = num_things
        self.has_boxes = config.location_target == "box" and config.location_layers > 0
        classes = num_things + num_stuff if config.stuff == "joint" else num_things
        dense, from_encoder = config.attention == "dense", config.query_initialization == "encoder"
        self.backbone = Backbone(config)
        coarse = self.backbone.channels[self.backbone.finer :]
        self.neck = CoarsestLevel(coarse, config) if dense else Neck(coarse, config)
        self.encoder = DenseEncoder(config) if dense else Encoder(config)
        self.queries = EncoderQueries(config, classes) if from_encoder else LearnedQueries(config)
        self.location_decoder = LocationDecoder(config, classes)
        self.query_masks = self._query_masks()
        # One head for all blocks: this gives version 1 the number of parameters in its paper.
        self.query_classes: Classifier = no_classes
        self.stuff_masks: StuffMasks = no_stuff
        self.token_classes: Classifier = no_classes
        if config.classes_from == "masks":
            self.query_classes = class_head(config.channels, classes)
        if config.stuff == "decoupled":
            self.stuff_masks = StuffMaskDecoder(config, num_stuff)
        self.refine: Refine = as_they_are
        if config.mask_refinement == "stem":
            self.refine = MaskRefiner(config.channels)
        if config.token_classes:
            self.token_classes = nn.Linear(config.channels, num_things + num_stuff)

    def segment(self, images: Tensor, mask_layer: int = 0, auxiliary: bool = False) -> PanopticOutput:
        """Select the most probable pairs of query and class; see `Segmenter.segment`."""
        select = top_queries(self.config.selected_queries)
        output: PanopticOutput = self(images, None, select, mask_layer, auxiliary)
        return output

    def losses(
        self, images: Tensor, image_sizes: tuple[tuple[int, int], ...], objective: Objective
    ) -> dict[str, Tensor]:
        """Compute the terms of section 3.4; see `Segmenter.losses`."""
        select = objective.matched if self.config.classes_from == "location" else every_query
        output = self(images, image_sizes, select)
        with torch.autocast(images.device.type, enabled=False):
            return objective.panoptic_losses(output)

    def _query_masks(self) -> nn.Module:
        config = self.config
        if config.mask_head == "fpn":
            return FpnQueryMasks(config, self.backbone.channels, self.backbone.finer)
        decoder = ClassifiedQueryMasks if config.classes_from == "masks" else SelectedQueryMasks
        return decoder(config, config.thing_mask_layers, self_attention=False)

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
            image_sizes: (height, width) in pixels of each image without padding; None: no image is padded.
            select: chooses the queries that stand for segments.
            mask_layer: mask decoder block whose masks are the result, counted from 1; 0 is the tail.
            auxiliary: also return masks and classes of the layers before the last, as the losses need them.
        """
        features = self.backbone(images)
        levels = self.neck(features[self.backbone.finer :])
        memory = self.encoder(levels, image_sizes, (images.shape[-2], images.shape[-1]))
        start, proposals = self.queries(memory)
        location = self.location_decoder(memory, start, auxiliary)
        pyramid = Pyramid(features, levels, memory)
        segments = self.query_masks(location, pyramid, self.query_classes, select, mask_layer, auxiliary)
        stuff, stuff_logits = self.stuff_masks(memory, mask_layer, auxiliary)
        query_masks, stuff = self.refine(images, memory, segments.masks, stuff)
        return PanopticOutput(
            num_things=self.num_things,
            memory=memory,
            location=location,
            selection=segments.selection,
            query_masks=query_masks,
            query_class_logits=segments.class_logits,
            stuff=stuff,
            stuff_logits=stuff_logits,
            proposals=proposals,
            token_logits=self.token_classes(memory.tokens),
            total_queries=location.queries.shape[1],
        )


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
            f"model.stuff '{config.stuff}' needs {expected} (`isthing` in its `categories`); for things alone set it "
            "to none, for stuff alone to joint"
        )
