"""Panoptic SegFormer (Li et al., CVPR 2022, figure 2), version 2, as its published checkpoints compute it.

images -> backbone -> neck -> encoder -> memory -> location decoder -> selected queries -> thing masks
                                         memory ---------------------> stuff queries ----> stuff masks
"""

from torch import Tensor, nn

from model.network.backbone import Backbone
from model.network.config import NetworkConfig
from model.network.encoder import Encoder
from model.network.location_decoder import LearnedQueries, LocationDecoder
from model.network.mask_decoder import MaskDecoder, StuffMaskDecoder
from model.network.neck import Neck
from model.network.outputs import PanopticOutput
from model.network.proposals import EncoderQueries
from model.network.selection import QuerySelector, gather_queries


class PanopticSegFormer(nn.Module):
    """The whole network.

    Raises:
        ValueError: no thing or no stuff class; the network has a decoder for each.
    """

    def __init__(self, config: NetworkConfig, num_things: int, num_stuff: int) -> None:
        super().__init__()
        if num_things < 1 or num_stuff < 1:
            raise ValueError(
                f"the dataset has {num_things} thing and {num_stuff} stuff categories; "
                "expected at least one of each (`isthing` in its `categories`)"
            )
        self.config = config
        self.backbone = Backbone(config)
        self.neck = Neck(self.backbone.channels, config)
        self.encoder = Encoder(config)
        from_encoder = config.query_initialisation == "encoder"
        self.queries = EncoderQueries(config, num_things) if from_encoder else LearnedQueries(config)
        self.location_decoder = LocationDecoder(config, num_things)
        self.thing_masks = MaskDecoder(config, config.thing_mask_layers, self_attention=False)
        self.stuff_masks = StuffMaskDecoder(config, num_stuff)
        self.token_classes = nn.Linear(config.channels, num_things + num_stuff) if config.token_classes else None

    def forward(
        self, images: Tensor, image_sizes: tuple[tuple[int, int], ...] | None, select: QuerySelector
    ) -> PanopticOutput:
        """Segment a batch.

        Args:
            images: (B, 3, H, W) normalised, padded at the right and bottom.
            image_sizes: (height, width) in pixels of each image without padding; None = no padding.
            select: chooses the thing queries that get masks.
        """
        batch, _, height, width = images.shape
        features = self.backbone(images)
        levels = self.neck(features)
        memory = self.encoder(levels, image_sizes or ((height, width),) * batch, (height, width))
        start, proposals = self.queries(memory)
        location = self.location_decoder(memory, start)
        selection = select(location)
        things = self.thing_masks(gather_queries(location.states[-1], selection), memory)
        stuff, stuff_logits = self.stuff_masks(memory)
        token_logits = self.token_classes(memory.tokens) if self.token_classes is not None else None
        return PanopticOutput(memory, location, selection, things, stuff, stuff_logits, proposals, token_logits)
