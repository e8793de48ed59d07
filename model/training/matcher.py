"""Bipartite matching of queries to the ground truth that they shall find (section 3.4 of the paper; DETR's matcher).

Two matchings happen in training. The first, per location layer, weighs class and place. The second, among the
queries that the first one chose in the last layer, weighs the decoded masks as well and decides which mask
learns which segment. Where the mask decoder classifies (version 1) there is one matching, of all queries, by class,
place and mask.

The costs of all layers and images are computed, and brought to the host, together.
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

FOCAL_EPS = 1e-12
DICE_EPS = 1e-3
WORST_COST = 1e6


@dataclass(frozen=True)
class Matches:
    """M pairs of query and segment in each of L layers, sorted by image, then by query."""

    images: Tensor  # (M,) int64
    slots: Tensor  # (M,) int64, number of the pair within its image
    queries: Tensor  # (L, M) int64
    segments: Tensor  # (L, M) int64, numbered through all images of the batch

    def to(self, device: torch.device) -> "Matches":
        """The same pairs on `device`."""
        return Matches(*(value.to(device, non_blocking=True) for value in vars(self).values()))

    def of(self, values: Tensor) -> Tensor:
        """What `values` (L, B, Q, ...) say of the matched queries, (L, M, ...)."""
        layers = torch.arange(len(values), device=values.device)[:, None]
        return values[layers, self.images, self.queries]


@dataclass(frozen=True)
class MatchCosts:
    """Weights of the terms of a matching cost."""

    class_weight: float = 2.0
    l1_weight: float = 5.0
    giou_weight: float = 2.0
    dice_weight: float = 0.0


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
    """Assign every segment that the queries shall find to one query at least total cost, in every layer by itself.

    Args:
        class_logits: (L, B, Q, T) of the queries that may be chosen.
        boxes: (L, B, Q, 4) boxes or (L, B, Q, 2) centers of mass in units of the unpadded image; None leaves
            them out.
        targets: of the B images.
        costs: how much each term counts.
        masks: (L, B, Q, h, w) decoded masks, needed where `costs.dice_weight` is not 0.
        candidates: so many of the first queries of every image may be chosen; None: all.
    """
    labels = pad_sequence([target.query_labels for target in targets], batch_first=True)
    cost = costs.class_weight * _class_cost(class_logits.float(), labels)
    if boxes is not None:
        cost = cost + _box_cost(boxes.float(), targets, costs)
    if masks is not None:
        cost = cost + costs.dice_weight * _dice_cost(masks.float(), targets)
    # A network that has diverged must reach the check of its losses, which names the term, and not stop here.
    on_host = cost.nan_to_num(nan=WORST_COST).cpu().numpy()
    return _assign(on_host, targets, candidates or [class_logits.shape[2]] * len(targets)).to(cost.device)


def gt_locations(targets: Sequence[Target], size: int) -> list[Tensor]:
    """What boxes (..., size) are compared with: every image's boxes (M, 4) or centers of mass (M, 2)."""
    return [target.query_boxes if size == 4 else target.query_centers for target in targets]


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
    slots = np.arange(sum(pairs)) - np.repeat(ends - pairs, pairs)
    return Matches(*(torch.from_numpy(array) for array in (images, slots, *found)))


def _box_cost(boxes: Tensor, targets: Sequence[Target], costs: MatchCosts) -> Tensor:
    ground_truth = pad_sequence(gt_locations(targets, boxes.shape[-1]), batch_first=True)
    cost = costs.l1_weight * torch.cdist(boxes, ground_truth.expand(len(boxes), -1, -1, -1), p=1)
    if boxes.shape[-1] == 2:
        return cost
    corners, gt_corners = cxcywh_to_xyxy(boxes)[:, :, :, None], cxcywh_to_xyxy(ground_truth)[:, None]
    return cost - costs.giou_weight * generalized_iou(corners, gt_corners)


def _class_cost(logits: Tensor, labels: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss of calling a query `label` less that of calling it nothing: (L, B, Q, T), (B, M) to (L, B, Q, M)."""
    layers, _, queries, _ = logits.shape
    probability = logits.sigmoid().gather(-1, labels[None, :, None].expand(layers, -1, queries, -1))
    positive = -alpha * (1 - probability).pow(gamma) * (probability + FOCAL_EPS).log()
    negative = -(1 - alpha) * probability.pow(gamma) * (1 - probability + FOCAL_EPS).log()
    return positive - negative


def _dice_cost(masks: Tensor, targets: Sequence[Target]) -> Tensor:
    """1 - Dice of every mask (L, B, Q, h, w) with every segment of its image, resized to (h, w); (L, B, Q, M)."""
    shape = masks.shape[-2], masks.shape[-1]
    ground_truth = pad_sequence([resized(target.query_masks, shape).flatten(1) for target in targets], batch_first=True)
    flat = masks.flatten(-2)
    squares = flat.square().sum(-1)[..., None] + DICE_EPS + ground_truth.square().sum(-1)[:, None] + DICE_EPS
    return 1 - 2 * flat @ ground_truth.mT / squares


@dataclass(frozen=True)
class MatchedQueries:
    """Query selector of training: the last location layer's match of every image."""

    targets: tuple[Target, ...]

    def __call__(self, class_logits: Tensor, boxes: Tensor) -> QuerySelection:
        """Select one query per segment; images with fewer segments than the most are padded, `valid` False."""
        found = match(class_logits[None], boxes[-1:], self.targets)
        most = max(matched_queries(self.targets, class_logits.shape[1]))
        indices = class_logits.new_zeros((len(self.targets), most), dtype=torch.long)
        labels, valid = torch.zeros_like(indices), torch.zeros_like(indices, dtype=torch.bool)
        at = found.images, found.slots
        indices[at] = found.queries[0]
        labels[at] = torch.cat([target.query_labels for target in self.targets])[found.segments[0]]
        valid[at] = True
        images = torch.arange(len(indices), device=indices.device)[:, None]
        return selection_of(indices, labels, class_logits.sigmoid()[images, indices, labels], valid)


def matched_queries(targets: Sequence[Target], queries: int) -> list[int]:
    """How many of its queries are matched, in every image."""
    return [min(len(target.query_labels), queries) for target in targets]
