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

from model.network.outputs import MaskOutput, PanopticOutput, Shapes
from model.training.batch import Target
from model.training.losses import box_giou_loss, box_l1_loss, dice_loss, sigmoid_focal_loss
from model.training.matcher import MASK_MATCHING, SECOND_MATCHING, Match, match, true_places


@dataclass(frozen=True)
class LossWeights:
    """Factors of the loss terms; the defaults are the published ones. The auxiliary `token_class` is off there."""

    query_class: float = 2.0
    """Of thing queries; with joint matching of all."""
    box_l1: float = 5.0
    box_giou: float = 2.0
    mask_dice: float = 2.0
    stuff_class: float = 4.0
    token_class: float = 0.0


@dataclass(frozen=True)
class SegmentCounts:
    """Ground-truth segments in one optimiser step, over all its pictures.

    `things` are all that the queries shall find: with joint matching the stuff as well, and `stuff` is 0.
    """

    pictures: int
    things: int
    stuff: int

    @classmethod
    def of(cls, targets: Sequence[Target]) -> "SegmentCounts":
        """Count the segments of `targets`."""
        things = sum(len(target.query_labels) for target in targets)
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
    output: PanopticOutput,
    targets: Sequence[Target],
    counts: SegmentCounts,
    weights: LossWeights,
    deep_supervision: bool = True,
) -> dict[str, Tensor]:
    """Weighted loss terms by name; their sum is the objective.

    Without `deep_supervision` the mask decoders' last masks and classes alone are learnt, not those of the blocks
    before.
    """
    share = counts.thing_share if output.stuff is not None else 1.0
    matches = match_by_masks(output, targets) if output.query_class_logits is not None else None
    terms = _location_terms(output, targets, matches, weights)
    terms |= _query_terms(output, targets, matches, weights, deep_supervision)
    terms = {name: share * counts.per_thing * term for name, term in terms.items()}
    if output.stuff is not None and output.stuff_logits is not None:
        factor = (1 - share) * counts.per_stuff
        for block, dice in _supervised(_stuff_dice_sums(output.stuff, targets), deep_supervision):
            terms[f"stuff{block}_dice"] = weights.mask_dice * factor * dice
        for block, focal in _supervised(_stuff_class_sums(output.stuff_logits, targets), deep_supervision):
            terms[f"stuff{block}_class"] = weights.stuff_class * factor * focal
    if output.token_logits is not None and weights.token_class:
        terms["token_class"] = weights.token_class * counts.per_picture * token_class_loss(output, targets)
    return terms


def _supervised(sums: Tensor, deeply: bool) -> list[tuple[int, Tensor]]:
    """The numbered sums (K,) that are learnt: all, or the last."""
    numbered = list(enumerate(sums))
    return numbered if deeply else numbered[-1:]


def _location_terms(
    output: PanopticOutput, targets: Sequence[Target], matches: Sequence[Match] | None, weights: LossWeights
) -> dict[str, Tensor]:
    """Class and place of every location layer, and of the encoder's proposals; not yet normalised."""
    location = output.location
    logits = [None] * len(location.places) if location.class_logits is None else list(location.class_logits)
    located = {f"location{layer}": both for layer, both in enumerate(zip(logits, location.places, strict=True))}
    if output.proposals:
        located["proposals"] = output.proposals.class_logits, output.proposals.places
    terms: dict[str, Tensor] = {}
    for name, (class_logits, places) in located.items():
        if class_logits is None:
            assert matches is not None, "what the location decoder does not classify, the mask decoder does"
            used = matches
        else:
            used = match_all(class_logits, places, targets)
            terms[f"{name}_class"] = weights.query_class * _class_sum(class_logits, targets, used)
        chosen = torch.cat([places[b, found.queries] for b, found in enumerate(used)]).float()
        truth = torch.cat(
            [true_places(target, places.shape[-1])[found.segments] for target, found in zip(targets, used, strict=True)]
        )
        terms[f"{name}_l1"] = weights.box_l1 * box_l1_loss(chosen, truth).sum()
        if places.shape[-1] == 4:
            terms[f"{name}_giou"] = weights.box_giou * box_giou_loss(chosen, truth).sum()
    return terms


def _query_terms(
    output: PanopticOutput,
    targets: Sequence[Target],
    matches: Sequence[Match] | None,
    weights: LossWeights,
    deep_supervision: bool,
) -> dict[str, Tensor]:
    """Masks of the queries, and their classes where the mask decoder gives them; not yet normalised."""
    if matches is None:
        matches = [match_selected(output, target, b) for b, target in enumerate(targets)]
    masks = output.query_masks.masks.float()
    chosen = torch.cat([masks[:, b, found.queries] for b, found in enumerate(matches)], 1)
    truth = torch.cat([target.query_masks[found.segments] for target, found in zip(targets, matches, strict=True)])
    terms = {
        f"queries{block}_dice": weights.mask_dice * dice
        for block, dice in _supervised(_dice_sums(chosen, truth), deep_supervision)
    }
    if output.query_class_logits is not None:
        sums = torch.stack([_class_sum(logits, targets, matches) for logits in output.query_class_logits])
        for block, focal in _supervised(sums, deep_supervision):
            terms[f"queries{block}_class"] = weights.query_class * focal
    return terms


def match_all(class_logits: Tensor, places: Tensor, targets: Sequence[Target]) -> list[Match]:
    """The first matching, of every picture: by class logits (B, Q, T) and places (B, Q, P)."""
    return [match(class_logits[b], places[b], target) for b, target in enumerate(targets)]


def match_selected(output: PanopticOutput, target: Target, b: int) -> Match:
    """The second matching, of picture `b`: slots of the selection (M,) and the segments (M,) they learn."""
    location, chosen = output.location, output.selection.valid[b]
    queries = output.selection.indices[b, chosen]
    assert location.class_logits is not None
    return match(
        location.class_logits[-1, b, queries],
        location.places[-1, b, queries],
        target,
        SECOND_MATCHING,
        output.query_masks.masks[-1, b, chosen],
    )


def match_by_masks(output: PanopticOutput, targets: Sequence[Target]) -> list[Match]:
    """The one matching where the mask decoder classifies: all queries, by their last class, place (if any) and mask."""
    assert output.query_class_logits is not None
    masks, logits, places = output.query_masks.masks[-1], output.query_class_logits[-1], output.location.places
    return [
        match(logits[b], places[-1, b] if len(places) else None, target, MASK_MATCHING, masks[b])
        for b, target in enumerate(targets)
    ]


def _class_sum(logits: Tensor, targets: Sequence[Target], matches: Sequence[Match]) -> Tensor:
    """Focal loss of class logits (B, Q, T), summed: a matched query has the class of its segment, others none."""
    classes = torch.zeros_like(logits, dtype=torch.float)
    for b, (target, found) in enumerate(zip(targets, matches, strict=True)):
        classes[b, found.queries, target.query_labels[found.segments]] = 1
    return sigmoid_focal_loss(logits.float(), classes).sum()


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
    total = 0 * output.token_logits.float().sum()  # pictures without any labelled token have a gradient too
    for logits, target in zip(output.token_logits.float(), targets, strict=True):
        segments = token_segments(target, output.memory.spatial_shapes)
        known = segments >= 0
        if known.any():
            labels = torch.cat([target.query_labels, target.stuff_labels + output.num_things])[segments[known]]
            losses = F.cross_entropy(logits[known], labels, reduction="none")
            sizes = segments[known].bincount()
            total = total + (losses / sizes[segments[known]]).sum() / (sizes > 0).sum()
    return total


def token_segments(target: Target, spatial_shapes: Shapes) -> Tensor:
    """Which segment (S,), things before stuff, lies in the middle of every token; -1 where there is none."""
    masks = torch.cat([target.query_masks, target.stuff_masks])
    # Segments do not overlap, so the sum over them holds at most one number, counted from 1 here.
    numbers = torch.arange(1, len(masks) + 1, device=masks.device)
    drawn = (masks * numbers[:, None, None]).sum(0)[None, None]
    levels = [F.interpolate(drawn, shape, mode="nearest-exact").flatten() for shape in spatial_shapes]
    return torch.cat(levels).long() - 1
