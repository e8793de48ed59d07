"""Network outputs with given masks and scores, for the tests of merging."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model import merging_reference
from model.inference.bit_masks import BitMasks, Size
from model.inference.merging import Candidates, Merged, MergingSettings, merge_masks
from model.inference.post_processing import ImageSizes, PanopticPrediction, predict_panoptic
from model.network.outputs import LocationOutput, MaskOutput, Memory, PanopticOutput, QuerySelection

THINGS, STUFF, QUERIES = 3, 2, 4
SETTINGS = MergingSettings()
MergeMasks = Callable[[Tensor, Tensor, Tensor, MergingSettings], Merged]
"""Merges masks (N, H, W) bool by scores and labels (N,), method `mask`."""


def merge_packed(masks: Tensor, scores: Tensor, labels: Tensor, settings: MergingSettings = SETTINGS) -> Merged:
    """Merge with the product's implementation on packed bits."""
    return merge_masks(Candidates(masks.float(), BitMasks.of(masks), labels, scores, scores, THINGS), settings)


def merge_plain(masks: Tensor, scores: Tensor, labels: Tensor, settings: MergingSettings = SETTINGS) -> Merged:
    """Merge with the reference implementation."""
    return merging_reference.merge_masks(masks, scores, labels, THINGS, settings)


def box_mask(top: int, left: int, bottom: int, right: int) -> Tensor:
    mask = torch.zeros(10, 10, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


@dataclass(frozen=True)
class Parts:
    """Parts of an output that merging reads: final masks (B, N, h, w) and (B, S, h, w), scores, logits (B, S)."""

    masks: Tensor
    scores: Tensor
    valid: Tensor
    stuff_masks: Tensor
    stuff_logits: Tensor

    def output(self) -> PanopticOutput:
        """Make the output of a network with these parts; the rest is filler."""
        batch, count = self.scores.shape
        boxes = torch.rand(1, 1, QUERIES, 4, generator=torch.Generator().manual_seed(1)).expand(1, batch, -1, 4)
        filler = torch.zeros(batch, 1, 1)
        indices = torch.arange(count).remainder(QUERIES).expand(batch, -1)
        mask_indices = torch.arange(count).expand(batch, -1)
        return PanopticOutput(
            num_things=THINGS,
            memory=Memory(filler, filler, filler[..., 0] > 0, ((1, 1),), filler),
            location=LocationOutput(
                torch.zeros(batch, QUERIES, 1), filler[None], torch.zeros(1, batch, QUERIES, THINGS), boxes, None
            ),
            selection=QuerySelection(indices, indices.remainder(THINGS), self.scores, self.valid, mask_indices),
            query_masks=MaskOutput(
                torch.stack((torch.zeros_like(self.masks), self.masks)), torch.zeros(1, batch, count, 1)
            ),
            query_class_logits=None,
            stuff=MaskOutput(
                torch.stack((torch.zeros_like(self.stuff_masks), self.stuff_masks)),
                torch.zeros(1, *self.stuff_masks.shape[:2], 1),
            ),
            stuff_logits=self.stuff_logits[None],
            proposals=None,
            token_logits=None,
        )


def random_parts(seed: int, batch: int = 1, count: int = 6) -> Parts:
    generator = torch.Generator().manual_seed(seed)
    masks, stuff_masks = (2 * torch.rand(batch, each, 3, 4, generator=generator) ** 2 for each in (count, STUFF))
    scores = torch.rand(batch, count, generator=generator)
    logits = torch.randn(batch, STUFF, generator=generator)
    return Parts(masks, scores, torch.ones(batch, count, dtype=torch.bool), stuff_masks, logits)


def joint_output(masks: Tensor, scores: Tensor, labels: Tensor) -> PanopticOutput:
    """Make the output of a network with one set of queries for things and stuff, for one image: masks (N, h, w)."""
    parts = Parts(masks[None], scores[None], scores[None] >= 0, masks[None, :0], torch.zeros(1, 0))
    output = parts.output()
    selection = replace(output.selection, labels=labels[None])
    return replace(output, selection=selection, stuff=None, stuff_logits=None)


def predict_one(
    output: PanopticOutput, settings: MergingSettings = SETTINGS, size: Size = (10, 10)
) -> PanopticPrediction:
    """Predict the only image of an output, at the given size."""
    (prediction,) = predict_panoptic(output, [ImageSizes(size, size, size)], settings)
    return prediction
