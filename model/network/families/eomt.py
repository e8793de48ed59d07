"""EoMT, the encoder-only mask transformer (Kerssies et al., "Your ViT is secretly an image segmentation model", 2025).

A plain vision transformer whose last blocks also see the queries, and in training attend only inside the masks that
they predicted last. There is no other backbone or decoder. The blocks are those of transformers; this file runs them
on images of any size, with position embeddings resized to it. Settings: `channels`, `heads`, `queries`,
`encoder_layers` before and `location_layers` after the queries are added, `dropout` of the embeddings, `drop_path`.

The probability of masked attention stays 1 in training, as in transformers; the published schedule lowers it to 0, so
that inference is without masks. Here masks are used in both.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import EomtConfig
from transformers.models.eomt.modeling_eomt import (
    EomtEmbeddings,
    EomtLayer,
    EomtLoss,
    EomtMaskHead,
    EomtPreTrainedModel,
    EomtScaleBlock,
)

from model.network.config import NetworkConfig
from model.network.families.mask_classifier import Criterion, LayerPrediction, MaskClassifier, initialize

PATCH = 16
"""Side of a patch in pixels."""
GRID = 16
"""Side, in patches, of the image that the position embeddings are for."""


class Eomt(MaskClassifier):
    """The whole network, for images of any size, which are padded to whole patches."""

    backbone = None
    side_multiple = PATCH
    recomputed = (EomtLayer,)
    paper = "[EoMT](https://arxiv.org/abs/2503.19108) (Kerssies et al., CVPR 2025)"

    def __init__(self, config: NetworkConfig, num_things: int, num_stuff: int) -> None:
        super().__init__(config, num_things, num_stuff)
        sizes = EomtConfig(
            hidden_size=config.channels,
            num_attention_heads=config.heads,
            num_hidden_layers=config.encoder_layers + config.location_layers,
            num_blocks=config.location_layers,
            num_queries=config.queries,
            patch_size=PATCH,
            image_size=PATCH * GRID,
            hidden_dropout_prob=config.dropout,
            drop_path_rate=config.drop_path,
        )
        sizes.num_labels = classes = num_things + num_stuff
        self.encoder = _Encoder(sizes, classes)
        self.weights = sizes.class_weight, sizes.mask_weight, sizes.dice_weight
        self.criterion = cast(Criterion, EomtLoss(sizes, {}))

    def forward(self, images: Tensor) -> list[LayerPrediction]:
        """Predict before each of the last blocks and after all; see `MaskClassifier.forward`."""
        height, width = images.shape[-2:]
        padded = F.pad(images, (0, -width % PATCH, 0, -height % PATCH))
        rows, columns = (-(-4 * side // PATCH) for side in (height, width))
        return [
            LayerPrediction(states, classes, masks[..., :rows, :columns])
            for states, classes, masks in self.encoder(padded)
        ]


class _Encoder(nn.Module):
    """Vision transformer with queries, heads and transformers' initial weights."""

    def __init__(self, sizes: EomtConfig, classes: int) -> None:
        super().__init__()
        self.num_queries, self.first = sizes.num_queries, sizes.num_hidden_layers - sizes.num_blocks
        self.embeddings = EomtEmbeddings(sizes)
        self.layernorm = nn.LayerNorm(sizes.hidden_size, eps=sizes.layer_norm_eps)
        self.query = nn.Embedding(sizes.num_queries, sizes.hidden_size)
        self.layers = nn.ModuleList([EomtLayer(sizes) for _ in range(sizes.num_hidden_layers)])
        self.upscale_block = EomtScaleBlock(sizes)
        self.mask_head = EomtMaskHead(sizes)
        self.class_predictor = nn.Linear(sizes.hidden_size, classes + 1)
        initialize(self, EomtPreTrainedModel(sizes))

    def forward(self, images: Tensor) -> list[LayerPrediction]:
        """Predict from images whose sides are multiples of `PATCH`."""
        tokens, grid = self._embed(images)
        predictions: list[LayerPrediction] = []
        for index, layer in enumerate(self.layers):
            if index == self.first:
                tokens = torch.cat((self.query.weight.expand(tokens.shape[0], -1, -1), tokens), dim=1)
            mask = None
            if index >= self.first:
                predictions.append(self._predict(self.layernorm(tokens), grid))
                mask = self._attention_mask(predictions[-1].mask_logits, tokens.shape[1], grid)
            tokens = layer(tokens, mask)
        return [*predictions, self._predict(self.layernorm(tokens), grid)]

    def _embed(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return tokens (B, prefix + patches, C) and the size of the grid of patches."""
        embeddings = self.embeddings
        patches = embeddings.patch_embeddings.projection(images)
        grid = patches.shape[-2], patches.shape[-1]
        positions = embeddings.position_embeddings.weight.T.view(1, -1, GRID, GRID)
        positions = F.interpolate(positions, grid, mode="bicubic", align_corners=False)
        prefix = torch.cat((embeddings.cls_token, embeddings.register_tokens), dim=1).expand(images.shape[0], -1, -1)
        tokens = torch.cat((prefix, (patches + positions).flatten(2).transpose(1, 2)), dim=1)
        return embeddings.dropout(tokens), grid

    def _predict(self, tokens: Tensor, grid: tuple[int, int]) -> LayerPrediction:
        queries = tokens[:, : self.num_queries]
        patches = tokens[:, self.num_queries + self.embeddings.num_prefix_tokens :]
        pixels = self.upscale_block(patches.transpose(1, 2).reshape(patches.shape[0], -1, *grid))
        masks = torch.einsum("bqc,bchw->bqhw", self.mask_head(queries), pixels)
        return LayerPrediction(queries, self.class_predictor(queries), masks)

    def _attention_mask(self, mask_logits: Tensor, tokens: int, grid: tuple[int, int]) -> Tensor:
        """Keep each query from patches outside its mask: (B, 1, tokens, tokens), added to the logits of attention."""
        inside = F.interpolate(mask_logits, grid, mode="bilinear").flatten(2) > 0
        start = tokens - inside.shape[-1]
        mask = torch.zeros(inside.shape[0], 1, tokens, tokens, device=inside.device, dtype=mask_logits.dtype)
        mask[:, 0, : inside.shape[1], start:].masked_fill_(~inside, -1e9)
        return mask
