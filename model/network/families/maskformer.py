"""MaskFormer (Cheng et al., "Per-pixel classification is not all you need for semantic segmentation", NeurIPS 2021).

A feature pyramid makes one fine map, and DETR's decoder makes queries from the coarsest one; a mask is the product of
both. The modules are those of transformers; this file joins them to our backbones. Settings: `channels`, `heads`,
`queries`, `dropout`, and `location_layers` of the decoder (of width `feedforward`).
"""

from typing import cast

import torch
from torch import Tensor, nn
from transformers import DetrConfig, MaskFormerConfig
from transformers.models.maskformer.modeling_maskformer import (
    MaskFormerDetrDecoderLayer,
    MaskFormerDetrPreTrainedModel,
    MaskFormerHungarianMatcher,
    MaskFormerLoss,
    MaskformerMLPPredictionHead,
    MaskFormerPixelDecoder,
    MaskFormerPreTrainedModel,
    MaskFormerTransformerModule,
)

from model.network.backbone import Backbone
from model.network.config import NetworkConfig
from model.network.families.mask_classifier import Criterion, LayerPrediction, MaskClassifier, initialize


class MaskFormer(MaskClassifier):
    """The whole network, for images of any size."""

    backbone: Backbone
    recomputed = (MaskFormerDetrDecoderLayer,)
    paper = "[MaskFormer](https://arxiv.org/abs/2107.06278) (Cheng et al., NeurIPS 2021)"

    def __init__(self, config: NetworkConfig, num_things: int, num_stuff: int) -> None:
        super().__init__(config, num_things, num_stuff)
        self.backbone = Backbone(config)
        decoder = DetrConfig(
            d_model=config.channels,
            num_queries=config.queries,
            decoder_layers=config.location_layers,
            decoder_attention_heads=config.heads,
            decoder_ffn_dim=config.feedforward,
            dropout=config.dropout,
        )
        sizes = MaskFormerConfig(
            fpn_feature_size=config.channels,
            mask_feature_size=config.channels,
            decoder_config=decoder,
        )
        sizes.num_labels = classes = num_things + num_stuff
        self.decoder = _Decoder(sizes, decoder, self.backbone.channels, classes)
        self.weights = sizes.cross_entropy_weight, sizes.mask_weight, sizes.dice_weight
        matcher = MaskFormerHungarianMatcher(cost_class=1.0, cost_dice=sizes.dice_weight, cost_mask=sizes.mask_weight)
        self.criterion = cast(Criterion, MaskFormerLoss(classes, matcher, {}, sizes.no_object_weight))

    def forward(self, images: Tensor) -> list[LayerPrediction]:
        """Predict with every layer; see `MaskClassifier.forward`."""
        predictions: list[LayerPrediction] = self.decoder(self.backbone(images))
        return predictions


class _Decoder(nn.Module):
    """Pixel decoder, decoder and heads with transformers' initial weights."""

    def __init__(self, sizes: MaskFormerConfig, decoder: DetrConfig, channels: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.pixel_decoder = MaskFormerPixelDecoder(
            in_features=channels[-1],
            feature_size=sizes.fpn_feature_size,
            mask_feature_size=sizes.mask_feature_size,
            lateral_widths=list(channels[:-1]),
        )
        self.transformer = MaskFormerTransformerModule(channels[-1], sizes)
        self.class_predictor = nn.Linear(decoder.d_model, classes + 1)
        self.mask_embedder = MaskformerMLPPredictionHead(decoder.d_model, decoder.d_model, sizes.mask_feature_size)
        initialize(self, MaskFormerPreTrainedModel(sizes))
        initialize(self.transformer.decoder, MaskFormerDetrPreTrainedModel(decoder))

    def forward(self, features: tuple[Tensor, ...]) -> list[LayerPrediction]:
        """Predict from maps, finest first."""
        pixels = self.pixel_decoder(features).last_hidden_state
        decoded = self.transformer(features[-1], output_hidden_states=True, return_dict=True)
        # As published, and unlike transformers, the norm of the last layer is that of every layer.
        earlier = map(self.transformer.decoder.layernorm, decoded.hidden_states[1:-1])
        return [self._predict(states, pixels) for states in (*earlier, decoded.last_hidden_state)]

    def _predict(self, states: Tensor, pixels: Tensor) -> LayerPrediction:
        masks = torch.einsum("bqc,bchw->bqhw", self.mask_embedder(states), pixels)
        return LayerPrediction(states, self.class_predictor(states), masks)
