"""Bipartite matching of queries and ground-truth segments (section 3.4 of the paper; DETR's matcher).

Training runs two matchings. The first, per location layer, uses class and box. The second, among the queries that the
first one chose in the last layer, uses the decoded masks as well, and assigns segments to masks. Where the mask decoder
classifies (version 1), there is one matching of all queries, whose costs are settings: `train.mask_matching`.

The costs of all layers and images are computed, and transferred to the host, together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from model.boxes import cxcywh_to_xyxy, generalized_iou
from model.network.outputs import QuerySelection
from model.network.queries import selection_of
from model.training.batch import Target, resized
from panoptic.runtime.ranges import Factor, require_ranges

FOCAL_EPS = 1e-12
DICE_EPS = 1e-3
WORST_COST = 1e6


@dataclass(frozen=True)
class Matches:
    """M pairs of query and segment in each of L layers, sorted by image, then by query."""

    images: Tensor  # (M,) int64
    positions: Tensor  # (M,) int64, index of the pair within its image
    queries: Tensor  # (L, M) int64
    segments: Tensor  # (L, M) int64, numbered through all images of the batch

    def to(self, device: torch.device) -> "Matches":
        """Move the pairs to `device`."""
        return Matches(*(value.to(device, non_blocking=True) for value in vars(self).values()))

    def of(self, values: Tensor) -> Tensor:
        """Gather the `values` (L, B, Q, ...) of the matched queries: (L, M, ...)."""
        layers = torch.arange(len(values), device=values.device)[:, None]
        return values[layers, self.images, self.queries]


@dataclass(frozen=True)
class MatchCosts:
    """Weights of the terms of a matching cost."""

    class_weight: Factor = 2.0
    l1_weight: Factor = 5.0
    giou_weight: Factor = 2.0
    dice_weight: Factor = 0.0

    def __post_init__(self) -> None:
        """Reject weights that no cost could be summed with."""
        require_ranges(self, "train.mask_matching")
        if not any(vars(self).values()):
            names = ", ".join(vars(self))
            raise ValueError(f"train.mask_matching: {names} are all 0, so any query fits any segment; give one above 0")


FIRST_MATCHING = MatchCosts()
SECOND_MATCHING = MatchCosts(class_weight=4.0, dice_weight=2.0)
MASK_MATCHING = MatchCosts(giou_weight=0.0, dice_weight=2.0)


@torch.no_grad()
def match(
    class_logits: Tensor,
    boxes: Tensor | None,
    targets: Sequence[Target],
    costs: MatchCosts = FIRST_MATCHING,
    masks: Tensor | None = None,
    candidates: Sequence[int] | None = None,
) -> Matches:
    """Assign every target segment to one query at minimal total cost, separately in every layer.

    Args:
        class_logits: (L, B, Q, T) of the queries that may be chosen.
        boxes: (L, B, Q, P) boxes, or centers of mass with or without areas, in units of the unpadded image; None: not
            part of the costs.
        targets: ground truth of the B images.
        costs: weights of the terms.
        masks: (L, B, Q, h, w) decoded masks, required where `costs.dice_weight` is not 0.
        candidates: number of queries of every image, from the first, that may be chosen; None: all.
    """
    labels = pad_sequence([target.query_labels for target in targets], batch_first=True)
    cost = costs.class_weight * _class_cost(class_logits.float(), labels)
    if boxes is not None:
        cost = cost + _box_cost(boxes.float(), targets, costs)
    if masks is not None:
        cost = cost + costs.dice_weight * _dice_cost(masks.float(), targets)
    # A diverged network must not fail here, but at the check of its losses, which names the term.
    on_host = cost.nan_to_num(nan=WORST_COST).cpu().numpy()
    return _assign(on_host, targets, candidates or [class_logits.shape[2]] * len(targets)).to(cost.device)


def gt_locations(targets: Sequence[Target], size: int) -> list[Tensor]:
    """Every image's ground-truth boxes (M, 4), or centers of mass (M, 2) or (M, 3) with areas, as `size` says."""
    return [target.query_boxes if size == 4 else target.query_moments[:, :size] for target in targets]


def _assign(costs: np.ndarray, targets: Sequence[Target], candidates: Sequence[int]) -> Matches:
    """Find the cheapest pairs by costs (L, B, Q, most segments of an image)."""
    from scipy.optimize import linear_sum_assignment  # here, because only training needs it and it loads slowly

    segments = [len(target.query_labels) for target in targets]
    firsts = np.cumsum([0, *segments])  # of the images' segments
    pairs = [min(count, queries) for count, queries in zip(segments, candidates, strict=True)]
    found = np.empty((2, len(costs), sum(pairs)), dtype=np.int64)
    ends = np.cumsum(pairs)
    for layer, of_images in enumerate(costs):
        for b, cost in enumerate(of_images):
            queries, numbers = linear_sum_assignment(cost[: candidates[b], : segments[b]])
            found[:, layer, ends[b] - pairs[b] : ends[b]] = queries, numbers + firsts[b]
    images = np.repeat(np.arange(len(targets)), pairs)
    positions = np.arange(sum(pairs)) - np.repeat(ends - pairs, pairs)
    return Matches(*(torch.from_numpy(array) for array in (images, positions, *found)))


def _box_cost(boxes: Tensor, targets: Sequence[Target], costs: MatchCosts) -> Tensor:
    ground_truth = pad_sequence(gt_locations(targets, boxes.shape[-1]), batch_first=True)
    cost = costs.l1_weight * torch.cdist(boxes, ground_truth.expand(len(boxes), -1, -1, -1), p=1)
    if boxes.shape[-1] != 4:
        return cost
    corners, gt_corners = cxcywh_to_xyxy(boxes)[:, :, :, None], cxcywh_to_xyxy(ground_truth)[:, None]
    return cost - costs.giou_weight * generalized_iou(corners, gt_corners)


def _class_cost(logits: Tensor, labels: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss of `label` minus that of no object: logits (L, B, Q, T) and labels (B, M) to (L, B, Q, M)."""
    layers, _, queries, _ = logits.shape
    probability = logits.sigmoid().gather(-1, labels[None, :, None].expand(layers, -1, queries, -1))
    positive = -alpha * (1 - probability).pow(gamma) * (probability + FOCAL_EPS).log()
    negative = -(1 - alpha) * probability.pow(gamma) * (1 - probability + FOCAL_EPS).log()
    return positive - negative


def _dice_cost(masks: Tensor, targets: Sequence[Target]) -> Tensor:
    """1 - Dice (L, B, Q, M) of every mask (L, B, Q, h, w) with every segment of its image, resized to (h, w)."""
    shape = masks.shape[-2], masks.shape[-1]
    ground_truth = pad_sequence([resized(target.query_masks, shape).flatten(1) for target in targets], batch_first=True)
    flat = masks.flatten(-2)
    squares = flat.square().sum(-1)[..., None] + DICE_EPS + ground_truth.square().sum(-1)[:, None] + DICE_EPS
    return 1 - 2 * flat @ ground_truth.mT / squares


@dataclass(frozen=True)
class MatchedQueries:
    """Query selector for training: the matched queries of the last location layer."""

    targets: tuple[Target, ...]

    def __call__(self, class_logits: Tensor, boxes: Tensor) -> QuerySelection:
        """Select one query per segment; images with fewer segments are padded by entries with `valid` False."""
        found = match(class_logits[None], boxes[-1:], self.targets)
        most = max(matched_queries(self.targets, class_logits.shape[1]))
        indices = class_logits.new_zeros((len(self.targets), most), dtype=torch.long)
        labels, valid = torch.zeros_like(indices), torch.zeros_like(indices, dtype=torch.bool)
        entries = found.images, found.positions
        indices[entries] = found.queries[0]
        labels[entries] = torch.cat([target.query_labels for target in self.targets])[found.segments[0]]
        valid[entries] = True
        images = torch.arange(len(indices), device=indices.device)[:, None]
        return selection_of(indices, labels, class_logits.sigmoid()[images, indices, labels], valid)


def matched_queries(targets: Sequence[Target], queries: int) -> list[int]:
    """Number of matched queries in every image."""
    return [min(len(target.query_labels), queries) for target in targets]
