"""Panoptic SegFormer's training objective: named loss terms of one batch (section 3.4 and the published settings).

Every location layer is supervised with class, L1 and GIoU losses; every block of both mask decoders, and their
tails, with dice; every stuff block with a class loss. Thing terms are weighted by the fraction of things among the
ground-truth segments, stuff terms by the fraction of stuff. Sums are divided by counts over the *whole* optimizer
step (all micro-batches, all processes), so the objective does not depend on how a step is split.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.network.outputs import MaskOutput, PanopticOutput, Shapes
from model.network.queries import gather_queries
from model.training.batch import Target, resized
from model.training.losses import (
    box_giou_loss,
    box_l1_loss,
    dice_loss,
    enlarged_dice_loss,
    pixel_loss,
    sigmoid_focal_loss,
)
from model.training.matcher import (
    MASK_MATCHING,
    SECOND_MATCHING,
    MatchCosts,
    Matches,
    gt_locations,
    match,
    matched_queries,
)
from panoptic.runtime.ranges import Factor, require_ranges


@dataclass(frozen=True)
class LossWeights:
    """Factors of the loss terms; the defaults are the published ones, where the auxiliary `token_class` is off."""

    query_class: Factor = 2.0
    """Class loss of thing queries, or, with joint matching, of all queries."""
    box_l1: Factor = 5.0
    box_giou: Factor = 2.0
    mask_dice: Factor = 2.0
    mask_pixels: Factor = 2.0
    """Cross-entropy of the pixels of refined masks, where `model.mask_refinement` makes any."""
    stuff_class: Factor = 4.0
    token_class: Factor = 0.0
    location_auxiliary: Factor = 1.0
    """Factor of the class and box terms of the location layers before the last."""

    def __post_init__(self) -> None:
        """Reject factors that no loss could be minimized with."""
        require_ranges(self, "train.losses")


@dataclass(frozen=True)
class SegmentCounts:
    """Ground-truth segments in one optimizer step, over all its images.

    `things` counts all targets of the queries: with joint matching stuff as well, and `stuff` is 0.
    """

    images: int
    things: int
    stuff: int

    @classmethod
    def of(cls, targets: Sequence[Target]) -> "SegmentCounts":
        """Count the segments of `targets`."""
        things = sum(len(target.query_labels) for target in targets)
        return cls(len(targets), things, sum(len(target.stuff_labels) for target in targets))

    @property
    def per_image(self) -> float:
        """Normalizer of a sum over images: 1 / images."""
        return 1 / self.images

    @property
    def per_thing(self) -> float:
        """Normalizer of a sum over things: 1 / things."""
        return 1 / max(self.things, 1)

    @property
    def per_stuff(self) -> float:
        """Normalizer of a sum over stuff segments: 1 / stuff."""
        return 1 / max(self.stuff, 1)

    @property
    def thing_fraction(self) -> float:
        """Fraction of things among all segments, where things and stuff each count as at least one."""
        return max(self.things, 1) / (max(self.things, 1) + max(self.stuff, 1))


def panoptic_losses(
    output: PanopticOutput,
    targets: Sequence[Target],
    counts: SegmentCounts,
    weights: LossWeights,
    deep_supervision: bool = True,
    mask_matching: MatchCosts = MASK_MATCHING,
) -> dict[str, Tensor]:
    """Compute the weighted loss terms by name; their sum is the objective.

    Without `deep_supervision` only the last masks and classes of the mask decoders are supervised, not those of the
    blocks before. `mask_matching` has the costs of the matching where the mask decoder classifies.
    """
    fraction = counts.thing_fraction if output.stuff is not None else 1.0
    matches = match_by_masks(output, targets, mask_matching) if output.query_class_logits is not None else None
    terms = _location_terms(output, targets, matches, weights)
    terms |= _query_terms(output, targets, matches, weights, deep_supervision)
    terms = {name: fraction * counts.per_thing * term for name, term in terms.items()}
    if output.stuff is not None and output.stuff_logits is not None:
        factor = (1 - fraction) * counts.per_stuff
        for block, dice in _supervised(_stuff_dice_sums(output.stuff, targets), deep_supervision):
            terms[f"stuff{block}_dice"] = weights.mask_dice * factor * dice
        for name, term in _refined_terms("stuff", output.stuff, targets, None, weights).items():
            terms[name] = factor * term
        for block, focal in _supervised(_stuff_class_sums(output.stuff_logits, targets), deep_supervision):
            terms[f"stuff{block}_class"] = weights.stuff_class * factor * focal
    if output.token_logits is not None and weights.token_class:
        terms["token_class"] = weights.token_class * counts.per_image * token_class_loss(output, targets)
    return terms


def _supervised(sums: Tensor, deeply: bool) -> list[tuple[int, Tensor]]:
    """Number the sums (K,), and keep all or, without deep supervision, the last."""
    numbered = list(enumerate(sums))
    return numbered if deeply else numbered[-1:]


def _location_terms(
    output: PanopticOutput, targets: Sequence[Target], matches: Matches | None, weights: LossWeights
) -> dict[str, Tensor]:
    """Class and box terms of every location layer and of the encoder's proposals, not yet normalized."""
    location = output.location
    names = [f"location{layer}" for layer in range(len(location.boxes))]
    terms = _layer_terms(names, location.class_logits, location.boxes, targets, matches, weights)
    if output.proposals:
        logits, boxes = output.proposals.class_logits[None], output.proposals.boxes[None]
        terms |= _layer_terms(["proposals"], logits, boxes, targets, None, weights)
    return terms


def _layer_terms(
    names: Sequence[str],
    class_logits: Tensor | None,
    boxes: Tensor,
    targets: Sequence[Target],
    matches: Matches | None,
    weights: LossWeights,
) -> dict[str, Tensor]:
    """Class and box terms of the layers `names`, from class logits (L, B, Q, T) and boxes (L, B, Q, P)."""
    sums: dict[str, Tensor] = {}
    if class_logits is not None:
        matches = match(class_logits, boxes, targets)
        sums["class"] = weights.query_class * _class_sums(class_logits, targets, matches)
    assert matches is not None, "either the location decoder or the mask decoder classifies"
    chosen, ground_truth = (
        matches.of(boxes).float(),
        torch.cat(gt_locations(targets, boxes.shape[-1]))[matches.segments],
    )
    sums["l1"] = weights.box_l1 * box_l1_loss(chosen, ground_truth).sum(1)
    if boxes.shape[-1] == 4:
        sums["giou"] = weights.box_giou * box_giou_loss(chosen, ground_truth).sum(1)
    factors = [weights.location_auxiliary] * (len(names) - 1) + [1.0]
    return {
        f"{name}_{term}": factors[layer] * values[layer]
        for layer, name in enumerate(names)
        for term, values in sums.items()
    }


def _query_terms(
    output: PanopticOutput,
    targets: Sequence[Target],
    matches: Matches | None,
    weights: LossWeights,
    deep_supervision: bool,
) -> dict[str, Tensor]:
    """Mask terms of the queries, and class terms where the mask decoder classifies; not yet normalized."""
    if matches is None:
        matches = match_selected(output, targets)
    chosen = matches.of(output.query_masks.masks).float()
    ground_truth = [target.query_masks for target in targets]
    terms = {
        f"queries{block}_dice": weights.mask_dice * dice
        for block, dice in _supervised(_dice_sums(chosen, ground_truth, matches.segments[0]), deep_supervision)
    }
    terms |= _refined_terms("queries", output.query_masks, targets, matches, weights)
    if output.query_class_logits is not None:
        sums = _class_sums(output.query_class_logits, targets, matches)
        for block, focal in _supervised(sums, deep_supervision):
            terms[f"queries{block}_class"] = weights.query_class * focal
    return terms


def _refined_terms(
    name: str, masks: MaskOutput, targets: Sequence[Target], matches: Matches | None, weights: LossWeights
) -> dict[str, Tensor]:
    """Dice and pixel terms of refined masks, of matched queries or else of stuff classes; empty without refinement."""
    if masks.refinement is None:
        return {}
    logits = masks.refinement.logits(masks.masks[-1]).float()
    if matches is None:
        images, labels = _present_stuff(targets)
        chosen, segments = logits[images, labels], [target.stuff_masks for target in targets]
    else:
        chosen, segments = matches.of(logits[None])[0], [target.query_masks for target in targets]
    ground_truth = torch.cat([resized(one, (chosen.shape[-2], chosen.shape[-1])) for one in segments])
    if matches is not None:
        ground_truth = ground_truth[matches.segments[0]]
    return {
        f"{name}_refined_dice": weights.mask_dice * dice_loss(chosen.sigmoid(), ground_truth).sum(),
        f"{name}_refined_pixels": weights.mask_pixels * pixel_loss(chosen, ground_truth).sum(),
    }


def _present_stuff(targets: Sequence[Target]) -> tuple[Tensor, Tensor]:
    """Number the images, and the classes, of the stuff in all targets: (U,) each."""
    labels = torch.cat([target.stuff_labels for target in targets])
    return torch.cat([torch.full_like(target.stuff_labels, b) for b, target in enumerate(targets)]), labels


def match_selected(output: PanopticOutput, targets: Sequence[Target]) -> Matches:
    """Run the second matching: assign segments to the selected queries."""
    location, selection = output.location, output.selection
    assert location.class_logits is not None
    return match(
        gather_queries(location.class_logits[-1], selection)[None],
        gather_queries(location.boxes[-1], selection)[None],
        targets,
        SECOND_MATCHING,
        output.query_masks.masks[-1:],
        candidates=matched_queries(targets, location.boxes.shape[2]),
    )


def match_by_masks(output: PanopticOutput, targets: Sequence[Target], costs: MatchCosts = MASK_MATCHING) -> Matches:
    """Match all queries by last class, box (if any) and mask: the only matching where the mask decoder classifies."""
    assert output.query_class_logits is not None
    boxes = output.location.boxes[-1:]
    return match(
        output.query_class_logits[-1:],
        boxes if len(boxes) else None,
        targets,
        costs,
        output.query_masks.masks[-1:],
    )


def _class_sums(logits: Tensor, targets: Sequence[Target], matches: Matches) -> Tensor:
    """Sum the focal loss of class logits (L, B, Q, T) per layer, with the segment's class for matched queries."""
    labels = torch.cat([target.query_labels for target in targets])[matches.segments]
    layers = torch.arange(len(logits), device=logits.device)[:, None]
    classes = torch.zeros_like(logits, dtype=torch.float)
    classes[layers, matches.images, matches.queries, labels] = 1
    return sigmoid_focal_loss(logits.float(), classes).sum((1, 2, 3))


def _stuff_dice_sums(stuff: MaskOutput, targets: Sequence[Target]) -> Tensor:
    """Sum the dice losses of the stuff classes that are present, for every block and the tail: (K + 1,)."""
    images, labels = _present_stuff(targets)
    ground_truth = [target.stuff_masks for target in targets]
    return _dice_sums(stuff.masks[:, images, labels].float(), ground_truth)


def _dice_sums(masks: Tensor, ground_truth: Sequence[Tensor], order: Tensor | None = None) -> Tensor:
    """Sum dice losses of masks (K, M, h, w) over M, with the images' segments at twice the masks' resolution.

    `order` is the segment of every mask, numbered through all images; None: mask i belongs to segment i.
    """
    height, width = masks.shape[-2:]
    resized_gt = torch.cat([resized(segments, (2 * height, 2 * width)) for segments in ground_truth])
    if order is not None:
        resized_gt = resized_gt[order]
    return enlarged_dice_loss(masks, resized_gt).sum(1)


def _stuff_class_sums(stuff_logits: Tensor, targets: Sequence[Target]) -> Tensor:
    """Sum the focal losses of "this stuff class is in the image" for every block: (K,)."""
    present = torch.zeros_like(stuff_logits[0], dtype=torch.float)
    for b, target in enumerate(targets):
        present[b, target.stuff_labels] = 1
    return sigmoid_focal_loss(stuff_logits.float(), present.expand_as(stuff_logits)).sum((1, 2))


def token_class_loss(output: PanopticOutput, targets: Sequence[Target]) -> Tensor:
    """Sum the cross-entropy of the encoder's tokens with the class at their center over images.

    Every segment of an image has the same weight, however few tokens it covers. Tokens on void, crowds or padding
    are ignored.
    """
    assert output.token_logits is not None
    weights, labels = zip(*(_token_weights(target, output) for target in targets), strict=True)
    logits = output.token_logits.float().flatten(0, 1)
    return (F.cross_entropy(logits, torch.cat(labels), reduction="none") * torch.cat(weights)).sum()


def _token_weights(target: Target, output: PanopticOutput) -> tuple[Tensor, Tensor]:
    """Weight and class of each token (S,) of an image; tokens without a class have weight 0."""
    segments = token_segments(target, output.memory.spatial_shapes) + 1
    labels = torch.cat([target.query_labels.new_zeros(1), target.query_labels, target.stuff_labels + output.num_things])
    sizes = torch.zeros(len(labels), device=labels.device).index_add_(0, segments, torch.ones_like(segments).float())
    seen = sizes[1:].count_nonzero().clamp(min=1)
    sizes[0] = torch.inf
    return 1 / (sizes[segments] * seen), labels[segments]


def token_segments(target: Target, spatial_shapes: Shapes) -> Tensor:
    """Index (S,) of the segment, things before stuff, at the center of every token; -1 where there is none."""
    masks = torch.cat([target.query_masks, target.stuff_masks])
    if not len(masks):
        return torch.full((sum(height * width for height, width in spatial_shapes),), -1, device=masks.device)
    # Segments do not overlap, so at most one is at each center.
    levels = [F.interpolate(masks.byte()[None], shape, mode="nearest-exact")[0].flatten(1) for shape in spatial_shapes]
    covered, segments = torch.cat(levels, 1).max(0)
    return torch.where(covered > 0, segments, -1)
