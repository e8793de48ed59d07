"""Mask2Former (Cheng et al., "Masked-attention mask transformer for universal image segmentation", CVPR 2022).

The backbone's maps are refined by deformable attention, and a decoder attends only inside the masks it predicted last.
The modules are those of transformers; this file joins them to our backbones. Settings: `channels`, `heads`, `queries`,
`encoder_layers` of the pixel decoder (of width `feedforward`), and `location_layers` of the decoder (of twice that).
"""

from typing import cast

from torch import Tensor, nn
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerLoss,
    Mask2FormerMaskedAttentionDecoderLayer,
    Mask2FormerPixelDecoder,
    Mask2FormerPixelDecoderEncoderLayer,
    Mask2FormerPreTrainedModel,
    Mask2FormerTransformerModule,
)

from model.network.backbone import Backbone
from model.network.config import NetworkConfig
from model.network.families.mask_classifier import Criterion, LayerPrediction, MaskClassifier, initialize


class Mask2Former(MaskClassifier):
    """The whole network, for images of any size."""

    backbone: Backbone
    recomputed = Mask2FormerPixelDecoderEncoderLayer, Mask2FormerMaskedAttentionDecoderLayer
    paper = "[Mask2Former](https://arxiv.org/abs/2112.01527) (Cheng et al., CVPR 2022)"

    def __init__(self, config: NetworkConfig, num_things: int, num_stuff: int) -> None:
        super().__init__(config, num_things, num_stuff)
        self.backbone = Backbone(config)
        sizes = Mask2FormerConfig(
            feature_size=config.channels,
            mask_feature_size=config.channels,
            hidden_dim=config.channels,
            num_attention_heads=config.heads,
            encoder_layers=config.encoder_layers,
            encoder_feedforward_dim=config.feedforward,
            decoder_layers=config.location_layers + 1,  # transformers counts the prediction before the first layer
            dim_feedforward=2 * config.feedforward,
            num_queries=config.queries,
            feature_strides=self.backbone.strides,
            common_stride=self.backbone.strides[0],
        )
        sizes.num_labels = classes = num_things + num_stuff
        self.decoder = _Decoder(sizes, self.backbone.channels, classes)
        self.weights = sizes.class_weight, sizes.mask_weight, sizes.dice_weight
        self.criterion = cast(Criterion, Mask2FormerLoss(sizes, {}))

    def forward(self, images: Tensor) -> list[LayerPrediction]:
        """Predict before the first layer and with every layer; see `MaskClassifier.forward`."""
        predictions: list[LayerPrediction] = self.decoder(self.backbone(images))
        return predictions


class _Decoder(nn.Module):
    """Pixel decoder, decoder and class head with transformers' initial weights."""

    def __init__(self, sizes: Mask2FormerConfig, channels: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.pixel_decoder = Mask2FormerPixelDecoder(sizes, channels)
        self.transformer = Mask2FormerTransformerModule(sizes.feature_size, sizes)
        self.class_predictor = nn.Linear(sizes.hidden_dim, classes + 1)
        initialize(self, Mask2FormerPreTrainedModel(sizes))

    def forward(self, features: tuple[Tensor, ...]) -> list[LayerPrediction]:
        """Predict from maps, finest first."""
        pixels = self.pixel_decoder(features)
        decoded = self.transformer(pixels.multi_scale_features, pixels.mask_features)
        states = [state.transpose(0, 1) for state in decoded.intermediate_hidden_states]
        return [
            LayerPrediction(state, self.class_predictor(state), masks)
            for state, masks in zip(states, decoded.masks_queries_logits, strict=True)
        ]
