"""Bipartite matching of queries to the ground truth that they shall find (section 3.4 of the paper; DETR's matcher).

Two matchings happen in training. The first, per location layer, weighs class and place. The second, among the
queries that the first one chose in the last layer, weighs the decoded masks as well and decides which mask
learns which segment. Where the mask decoder classifies (version 1) there is one matching, of all queries, by class,
place and mask.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from model.boxes import cxcywh_to_xyxy, generalised_iou
from model.network.outputs import QuerySelection
from model.network.selection import selection_of
from model.training.batch import Target

FOCAL_EPS = 1e-12
DICE_EPS = 1e-3
WORST_COST = 1e6


@dataclass(frozen=True)
class Match:
    """Pairs of one picture, sorted by query: `queries[i]` is responsible for `segments[i]`."""

    queries: Tensor  # (M,) int64
    segments: Tensor  # (M,) int64


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
    places: Tensor | None,
    target: Target,
    costs: MatchCosts = FIRST_MATCHING,
    masks: Tensor | None = None,
) -> Match:
    """Assign every segment that the queries shall find to one query at least total cost.

    Args:
        class_logits: (Q, T) of the queries that may be chosen.
        places: (Q, 4) boxes or (Q, 2) centres of mass in units of the unpadded picture; None leaves them out.
        masks: (Q, h, w) decoded masks, needed where `costs.dice_weight` is not 0.
    """
    cost = costs.class_weight * _class_cost(class_logits.float(), target.query_labels)
    if places is not None:
        cost = cost + _place_cost(places.float(), target, costs)
    if masks is not None:
        cost = cost + costs.dice_weight * _dice_cost(masks.float(), target.query_masks)
    # A network that has diverged must reach the check of its losses, which names the term, and not stop here.
    queries, segments = linear_sum_assignment(cost.nan_to_num(nan=WORST_COST).cpu().numpy())
    return Match(torch.as_tensor(queries, device=cost.device), torch.as_tensor(segments, device=cost.device))


def true_places(target: Target, size: int) -> Tensor:
    """What places (Q, size) are compared with: the segments' boxes (M, 4) or centres of mass (M, 2)."""
    return target.query_boxes if size == 4 else target.query_centres


def _place_cost(places: Tensor, target: Target, costs: MatchCosts) -> Tensor:
    truth = true_places(target, places.shape[-1])
    cost = costs.l1_weight * torch.cdist(places, truth, p=1)
    if places.shape[-1] == 2:
        return cost
    return cost - costs.giou_weight * generalised_iou(cxcywh_to_xyxy(places)[:, None], cxcywh_to_xyxy(truth)[None])


def _class_cost(logits: Tensor, labels: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss of calling a query `label` less that of calling it nothing, (Q, T)."""
    probability = logits.sigmoid()[:, labels]
    positive = -alpha * (1 - probability).pow(gamma) * (probability + FOCAL_EPS).log()
    negative = -(1 - alpha) * probability.pow(gamma) * (1 - probability + FOCAL_EPS).log()
    return positive - negative


def _dice_cost(masks: Tensor, targets: Tensor) -> Tensor:
    """1 - Dice of every mask (Q, h, w) with every target (T, H, W) resized to (h, w); (Q, T)."""
    resized = F.interpolate(targets[:, None], masks.shape[-2:], mode="bilinear", align_corners=False).flatten(1)
    flat = masks.flatten(1)
    squares = flat.square().sum(1)[:, None] + DICE_EPS + resized.square().sum(1)[None] + DICE_EPS
    return 1 - 2 * flat @ resized.T / squares


@dataclass(frozen=True)
class MatchedQueries:
    """Query selector of training: the last location layer's match of every picture."""

    targets: tuple[Target, ...]

    def __call__(self, class_logits: Tensor, places: Tensor) -> QuerySelection:
        """Select one query per segment; pictures with fewer segments than the most are padded, `valid` False."""
        matches = [match(class_logits[b], places[-1, b], target) for b, target in enumerate(self.targets)]
        most = max(len(found.queries) for found in matches)
        indices = class_logits.new_zeros((len(matches), most), dtype=torch.long)
        labels, valid = torch.zeros_like(indices), torch.zeros_like(indices, dtype=torch.bool)
        for b, (found, target) in enumerate(zip(matches, self.targets, strict=True)):
            count = len(found.queries)
            indices[b, :count] = found.queries
            labels[b, :count] = target.query_labels[found.segments]
            valid[b, :count] = True
        pictures = torch.arange(len(matches), device=indices.device)[:, None]
        return selection_of(indices, labels, class_logits.sigmoid()[pictures, indices, labels], valid)
