"""MaskFormer, Mask2Former and EoMT give the predictions and losses of transformers with the same weights."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    DetrConfig,
    EomtConfig,
    EomtForUniversalSegmentation,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    MaskFormerConfig,
    MaskFormerForInstanceSegmentation,
)

from model.network.families.eomt import Eomt
from model.network.families.mask2former import Mask2Former
from model.network.families.mask_classifier import MaskClassifier
from model.network.families.maskformer import MaskFormer
from model.training.batch import Batch, Target
from model.training.criterion import LossWeights, SegmentCounts
from model.training.objective import BatchObjective
from tests.model.network.tiny_network import STUFF, THINGS, TINY
from tests.model.training.synthetic import random_batch

CONFIG = replace(TINY, location_layers=2, encoder_layers=2, heads=2, channels=32, queries=7, dropout=0.0)
SIZE = (256, 256)
"""That of the position embeddings, which transformers does not resize."""

TERMS = {"loss_cross_entropy": "class", "loss_mask": "mask", "loss_dice": "dice"}


class _AsEncoder(nn.Module):
    """A backbone in the form in which transformers calls one."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> SimpleNamespace:
        return SimpleNamespace(feature_maps=self.backbone(images))


def mask2former() -> tuple[MaskClassifier, Any]:
    ours = Mask2Former(replace(CONFIG, family="mask2former"), THINGS, STUFF)
    config = Mask2FormerConfig(
        hidden_dim=32,
        feature_size=32,
        mask_feature_size=32,
        decoder_layers=3,
        encoder_layers=2,
        num_queries=7,
        num_attention_heads=2,
    )
    config.num_labels = THINGS + STUFF
    theirs = Mask2FormerForUniversalSegmentation(config)
    theirs.model.pixel_level_module.encoder = _AsEncoder(ours.backbone)
    theirs.model.pixel_level_module.decoder = ours.decoder.pixel_decoder
    theirs.model.transformer_module = ours.decoder.transformer
    theirs.class_predictor = ours.decoder.class_predictor
    return ours, theirs


def maskformer() -> tuple[MaskClassifier, Any]:
    ours = MaskFormer(replace(CONFIG, family="maskformer"), THINGS, STUFF)
    decoder = DetrConfig(d_model=32, num_queries=7, decoder_layers=2, decoder_attention_heads=2)
    config = MaskFormerConfig(fpn_feature_size=32, mask_feature_size=32, decoder_config=decoder)
    config.num_labels = THINGS + STUFF
    theirs = MaskFormerForInstanceSegmentation(config)
    theirs.model.pixel_level_module.encoder = _AsEncoder(ours.backbone)
    theirs.model.pixel_level_module.decoder = ours.decoder.pixel_decoder
    theirs.model.transformer_module = ours.decoder.transformer
    theirs.class_predictor, theirs.mask_embedder = ours.decoder.class_predictor, ours.decoder.mask_embedder
    return ours, theirs


def eomt() -> tuple[MaskClassifier, Any]:
    ours = Eomt(replace(CONFIG, family="eomt"), THINGS, STUFF)
    config = EomtConfig(
        hidden_size=32,
        num_attention_heads=2,
        num_hidden_layers=4,
        num_blocks=2,
        num_queries=7,
        image_size=SIZE[0],
        patch_size=16,
    )
    config.num_labels = THINGS + STUFF
    theirs = EomtForUniversalSegmentation(config)
    loaded = theirs.load_state_dict(ours.encoder.state_dict(), strict=False)
    assert not loaded.unexpected_keys
    assert set(loaded.missing_keys) == {"attn_mask_probs", "criterion.empty_weight"}
    return ours, theirs


def joined(target: Target) -> Target:
    """Let matched queries find stuff as well."""
    size = target.query_masks.shape[1:]
    return replace(
        target,
        query_masks=torch.cat((target.query_masks, target.stuff_masks)),
        query_labels=torch.cat((target.query_labels, target.stuff_labels + THINGS)),
        stuff_masks=target.stuff_masks.new_zeros(0, *size),
        stuff_labels=target.stuff_labels[:0],
    )


def objective_of(batch: Batch) -> BatchObjective:
    return BatchObjective(batch.targets, SegmentCounts.of(batch.targets), LossWeights())


@pytest.mark.parametrize("make", [mask2former, maskformer, eomt])
def test_predictions_and_losses_are_those_of_transformers(
    make: Callable[[], tuple[MaskClassifier, Any]],
) -> None:
    torch.manual_seed(0)
    ours, theirs = make()
    batch = random_batch(1, (2, 3), SIZE)
    batch = replace(batch, targets=tuple(map(joined, batch.targets)))
    labels = [target.query_labels for target in batch.targets]
    masks = [target.query_masks.float() for target in batch.targets]
    with torch.no_grad():
        last = ours.eval()(batch.images)[-1]
        output = theirs.eval()(batch.images)
        torch.testing.assert_close(last.class_logits, output.class_queries_logits, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(last.mask_logits, output.masks_queries_logits, rtol=1e-4, atol=1e-4)
        pixels = last.mask_logits.shape[-2] * last.mask_logits.shape[-1]
        for part in (theirs.criterion, theirs.criterion.matcher):
            part.num_points = pixels
        torch.manual_seed(2)  # for the points at which masks are compared
        terms = ours.losses(batch.images, batch.image_sizes, replace(objective_of(batch), deep_supervision=False))
        torch.manual_seed(2)
        found = theirs.get_loss_dict(output.masks_queries_logits, output.class_queries_logits, masks, labels, None)
    assert len(terms) == len(found) == 3
    for name, expected in found.items():
        (term,) = (value for key, value in terms.items() if key.endswith(TERMS[name]))
        torch.testing.assert_close(term, expected, rtol=1e-4, atol=1e-5)
