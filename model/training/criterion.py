"""The training objective: named loss terms of one batch (section 3.4 of the paper and the published settings).

Every location layer is supervised with class, L1 and GIoU losses; every block of both mask decoders, and their
tails, with dice; every stuff block with a class loss. Thing terms are weighted by the share of things among the
ground-truth segments, stuff terms by the share of stuff. Sums are divided by counts over the *whole* optimiser
step (all forward passes, all processes), so the objective does not depend on how a step is split.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.network.outputs import LocationOutput, MaskOutput, PanopticOutput, QuerySelection, Shapes
from model.training.batch import Target
from model.training.losses import box_giou_loss, box_l1_loss, dice_loss, sigmoid_focal_loss
from model.training.matcher import SECOND_MATCHING, match


@dataclass(frozen=True)
class LossWeights:
    """Factors of the loss terms; the defaults are the published ones. The auxiliary `token_class` is off there."""

    location_class: float = 2.0
    box_l1: float = 5.0
    box_giou: float = 2.0
    mask_dice: float = 2.0
    stuff_class: float = 4.0
    token_class: float = 0.0


@dataclass(frozen=True)
class SegmentCounts:
    """Ground-truth segments in one optimiser step, over all its pictures."""

    pictures: int
    things: int
    stuff: int

    @classmethod
    def of(cls, targets: Sequence[Target]) -> "SegmentCounts":
        """Count the segments of `targets`."""
        things = sum(len(target.thing_labels) for target in targets)
        return cls(len(targets), things, sum(len(target.stuff_labels) for target in targets))

    @property
    def per_picture(self) -> float:
        """What a sum over pictures is multiplied by."""
        return 1 / self.pictures

    @property
    def per_thing(self) -> float:
        """What a sum over things is multiplied by: 1 / things."""
        return 1 / max(self.things, 1)

    @property
    def per_stuff(self) -> float:
        """What a sum over stuff regions is multiplied by: 1 / stuff."""
        return 1 / max(self.stuff, 1)

    @property
    def thing_share(self) -> float:
        """Things among all segments, each kind counted as at least one."""
        return max(self.things, 1) / (max(self.things, 1) + max(self.stuff, 1))


def panoptic_losses(
    output: PanopticOutput, targets: Sequence[Target], counts: SegmentCounts, weights: LossWeights
) -> dict[str, Tensor]:
    """Weighted loss terms by name; their sum is the objective."""
    things = counts.thing_share * counts.per_thing
    stuff = (1 - counts.thing_share) * counts.per_stuff
    terms: dict[str, Tensor] = {}
    location = output.location
    found = {
        f"location{layer}": both
        for layer, both in enumerate(zip(location.class_logits, location.boxes_cxcywh, strict=True))
    }
    if output.proposals:
        found["proposals"] = output.proposals.class_logits, output.proposals.boxes_cxcywh
    for name, (class_logits, boxes) in found.items():
        focal, l1, giou = _location_sums(class_logits.float(), boxes.float(), targets)
        terms[f"{name}_class"] = weights.location_class * things * focal
        terms[f"{name}_l1"] = weights.box_l1 * things * l1
        terms[f"{name}_giou"] = weights.box_giou * things * giou
    for block, dice in enumerate(_thing_dice_sums(output, targets)):
        terms[f"things{block}_dice"] = weights.mask_dice * things * dice
    for block, dice in enumerate(_stuff_dice_sums(output.stuff, targets)):
        terms[f"stuff{block}_dice"] = weights.mask_dice * stuff * dice
    for block, focal in enumerate(_stuff_class_sums(output.stuff_logits, targets)):
        terms[f"stuff{block}_class"] = weights.stuff_class * stuff * focal
    if output.token_logits is not None and weights.token_class:
        terms["token_class"] = weights.token_class * counts.per_picture * token_class_loss(output, targets)
    return terms


def _location_sums(logits: Tensor, boxes: Tensor, targets: Sequence[Target]) -> tuple[Tensor, Tensor, Tensor]:
    """Of (B, Q, T) logits and (B, Q, 4) boxes: focal loss over all, L1 and GIoU loss over the matched queries."""
    classes = torch.zeros_like(logits)
    matched_boxes, true_boxes = [], []
    for b, target in enumerate(targets):
        found = match(logits[b], boxes[b], target)
        classes[b, found.queries, target.thing_labels[found.things]] = 1
        matched_boxes.append(boxes[b, found.queries])
        true_boxes.append(target.thing_boxes[found.things])
    predicted, truth = torch.cat(matched_boxes), torch.cat(true_boxes)
    focal = sigmoid_focal_loss(logits, classes).sum()
    return focal, box_l1_loss(predicted, truth).sum(), box_giou_loss(predicted, truth).sum()


def _thing_dice_sums(output: PanopticOutput, targets: Sequence[Target]) -> Tensor:
    """Dice loss of every block and the tail over the things, (K + 1,), after the second matching."""
    masks, selection = output.things.masks.float(), output.selection
    chosen, truth = [], []
    for b, target in enumerate(targets):
        slots, things = match_selected(output.location, selection, masks[-1], target, b)
        chosen.append(masks[:, b, slots])
        truth.append(target.thing_masks[things])
    return _dice_sums(torch.cat(chosen, 1), torch.cat(truth))


def match_selected(
    location: LocationOutput, selection: QuerySelection, masks: Tensor, target: Target, b: int
) -> tuple[Tensor, Tensor]:
    """The second matching, of picture `b`: slots of the selection (T,) and the things (T,) they learn."""
    queries = selection.indices[b, selection.valid[b]]
    found = match(
        location.class_logits[-1, b, queries],
        location.boxes_cxcywh[-1, b, queries],
        target,
        SECOND_MATCHING,
        masks[b, selection.valid[b]],
    )
    return found.queries, found.things


def _stuff_dice_sums(stuff: MaskOutput, targets: Sequence[Target]) -> Tensor:
    """Dice loss of every block and the tail over the stuff classes that are present, (K + 1,)."""
    masks = stuff.masks.float()
    chosen = torch.cat([masks[:, b, target.stuff_labels] for b, target in enumerate(targets)], 1)
    return _dice_sums(chosen, torch.cat([target.stuff_masks for target in targets]))


def _dice_sums(masks: Tensor, truth: Tensor) -> Tensor:
    """Dice losses of (K, M, h, w) masks with (M, H, W) truth at twice the mask resolution, summed over M."""
    blocks, _, height, width = masks.shape
    size = (2 * height, 2 * width)
    enlarged = F.interpolate(masks.reshape(-1, 1, height, width), size, mode="bilinear", align_corners=False)
    resized = F.interpolate(truth[:, None], size, mode="bilinear", align_corners=False)
    return dice_loss(enlarged.reshape(blocks, -1, *size), resized[:, 0][None]).sum(1)


def _stuff_class_sums(stuff_logits: Tensor, targets: Sequence[Target]) -> Tensor:
    """Focal loss of "this stuff class is in the picture", every block, (K,)."""
    present = torch.zeros_like(stuff_logits[0], dtype=torch.float)
    for b, target in enumerate(targets):
        present[b, target.stuff_labels] = 1
    return sigmoid_focal_loss(stuff_logits.float(), present.expand_as(stuff_logits)).sum((1, 2))


def token_class_loss(output: PanopticOutput, targets: Sequence[Target]) -> Tensor:
    """Cross-entropy of the encoder's tokens with the class at their place, summed over pictures.

    Every segment of a picture counts the same, however few tokens lie on it. Tokens on void, on a crowd or on
    padding are left out.
    """
    assert output.token_logits is not None
    first_stuff = output.token_logits.shape[-1] - output.stuff_logits.shape[-1]
    total = 0 * output.token_logits.float().sum()  # pictures without any labelled token have a gradient too
    for logits, target in zip(output.token_logits.float(), targets, strict=True):
        segments = token_segments(target, output.memory.spatial_shapes)
        known = segments >= 0
        if known.any():
            labels = torch.cat([target.thing_labels, target.stuff_labels + first_stuff])[segments[known]]
            losses = F.cross_entropy(logits[known], labels, reduction="none")
            sizes = segments[known].bincount()
            total = total + (losses / sizes[segments[known]]).sum() / (sizes > 0).sum()
    return total


def token_segments(target: Target, spatial_shapes: Shapes) -> Tensor:
    """Which segment (S,), things before stuff, lies in the middle of every token; -1 where there is none."""
    masks = torch.cat([target.thing_masks, target.stuff_masks])
    # Segments do not overlap, so the sum over them holds at most one number, counted from 1 here.
    numbers = torch.arange(1, len(masks) + 1, device=masks.device)
    drawn = (masks * numbers[:, None, None]).sum(0)[None, None]
    levels = [F.interpolate(drawn, shape, mode="nearest-exact").flatten() for shape in spatial_shapes]
    return torch.cat(levels).long() - 1
