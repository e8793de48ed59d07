"""Bipartite matching of queries to the ground-truth things (section 3.4 of the paper; DETR's matcher).

Two matchings happen in training. The first, per location layer, weighs class and box. The second, among the
queries that the first one chose in the last layer, weighs the decoded masks as well and decides which mask
learns which thing.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from model.boxes import cxcywh_to_xyxy, generalised_iou
from model.network.outputs import LocationOutput, QuerySelection
from model.training.batch import Target

FOCAL_EPS = 1e-12
DICE_EPS = 1e-3
WORST_COST = 1e6


@dataclass(frozen=True)
class Match:
    """Pairs of one picture, sorted by query: `queries[i]` is responsible for `things[i]`."""

    queries: Tensor  # (T,) int64
    things: Tensor  # (T,) int64


@dataclass(frozen=True)
class MatchCosts:
    """Weights of the terms of a matching cost."""

    class_weight: float = 2.0
    l1_weight: float = 5.0
    giou_weight: float = 2.0
    dice_weight: float = 0.0


FIRST_MATCHING = MatchCosts()
SECOND_MATCHING = MatchCosts(class_weight=4.0, dice_weight=2.0)


@torch.no_grad()
def match(
    class_logits: Tensor,
    boxes_cxcywh: Tensor,
    target: Target,
    costs: MatchCosts = FIRST_MATCHING,
    masks: Tensor | None = None,
) -> Match:
    """Assign every thing of `target` to one query at least total cost.

    Args:
        class_logits: (Q, T) of the queries that may be chosen.
        boxes_cxcywh: (Q, 4) in units of the unpadded picture.
        masks: (Q, h, w) decoded masks, needed where `costs.dice_weight` is not 0.
    """
    cost = costs.class_weight * _class_cost(class_logits.float(), target.thing_labels)
    cost = cost + costs.l1_weight * torch.cdist(boxes_cxcywh.float(), target.thing_boxes, p=1)
    giou = generalised_iou(cxcywh_to_xyxy(boxes_cxcywh.float())[:, None], cxcywh_to_xyxy(target.thing_boxes)[None])
    cost = cost - costs.giou_weight * giou
    if masks is not None:
        cost = cost + costs.dice_weight * _dice_cost(masks.float(), target.thing_masks)
    # A network that has diverged must reach the check of its losses, which names the term, and not stop here.
    queries, things = linear_sum_assignment(cost.nan_to_num(nan=WORST_COST).cpu().numpy())
    return Match(torch.as_tensor(queries, device=cost.device), torch.as_tensor(things, device=cost.device))


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

    def __call__(self, location: LocationOutput) -> QuerySelection:
        """Select one query per thing; pictures with fewer things than the most are padded, `valid` False."""
        logits, boxes = location.class_logits[-1], location.boxes_cxcywh[-1]
        matches = [match(logits[b], boxes[b], target) for b, target in enumerate(self.targets)]
        most = max(len(found.queries) for found in matches)
        indices = logits.new_zeros((len(matches), most), dtype=torch.long)
        labels, valid = torch.zeros_like(indices), torch.zeros_like(indices, dtype=torch.bool)
        for b, (found, target) in enumerate(zip(matches, self.targets, strict=True)):
            count = len(found.queries)
            indices[b, :count] = found.queries
            labels[b, :count] = target.thing_labels[found.things]
            valid[b, :count] = True
        scores = logits.sigmoid()[torch.arange(len(matches), device=logits.device)[:, None], indices, labels]
        return QuerySelection(indices, labels, scores, valid)
