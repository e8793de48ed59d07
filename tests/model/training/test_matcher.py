"""Matching: the cheapest assignment, told apart from all others by trying them."""

import math
from itertools import permutations

import pytest
import torch

from model.training.batch import Target
from model.training.matcher import FIRST_MATCHING, SECOND_MATCHING, MatchCosts, MatchedQueries, match
from tests.model.network.tiny_network import THINGS
from tests.model.training.synthetic import random_target


def single_cost(logits: torch.Tensor, box: torch.Tensor, target: Target, thing: int, costs: MatchCosts) -> float:
    """Cost of one pair, from the matching of one query to one thing, written out."""
    probability = float(logits.sigmoid()[target.query_labels[thing]])
    positive = -0.25 * (1 - probability) ** 2 * math.log(probability)
    negative = -0.75 * probability**2 * math.log(1 - probability)
    gt = target.query_boxes[thing]
    cost = costs.class_weight * (positive - negative) + costs.l1_weight * float((box - gt).abs().sum())
    (x1, y1), (x2, y2) = (box[:2] - box[2:] / 2).tolist(), (box[:2] + box[2:] / 2).tolist()
    (u1, v1), (u2, v2) = (gt[:2] - gt[2:] / 2).tolist(), (gt[:2] + gt[2:] / 2).tolist()
    overlap = max(0.0, min(x2, u2) - max(x1, u1)) * max(0.0, min(y2, v2) - max(y1, v1))
    union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - overlap
    hull = (max(x2, u2) - min(x1, u1)) * (max(y2, v2) - min(y1, v1))
    giou: float = overlap / union - (hull - union) / hull
    return cost - costs.giou_weight * giou


@pytest.mark.parametrize("seed", range(5))
def test_match_is_the_best_of_all_assignments(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    target = random_target(generator, 3)
    logits = torch.randn(5, THINGS, generator=generator)
    boxes = torch.rand(5, 4, generator=generator) * 0.4 + 0.1
    table = [[single_cost(logits[q], boxes[q], target, t, FIRST_MATCHING) for t in range(3)] for q in range(5)]
    best = min(permutations(range(5), 3), key=lambda queries: sum(table[q][t] for t, q in enumerate(queries)))
    found = match(logits[None, None], boxes[None, None], [target])
    assert dict(zip(found.segments[0].tolist(), found.queries[0].tolist(), strict=True)) == dict(enumerate(best))


def test_masks_decide_the_second_matching() -> None:
    """Two queries with equal class and box: the one whose mask fits gets the thing."""
    target = random_target(torch.Generator().manual_seed(1), 1)
    logits, boxes = torch.zeros(2, THINGS), target.query_boxes.expand(2, 4)
    masks = torch.stack([~target.query_masks[0], target.query_masks[0]]).float()
    for order, best in (([0, 1], 1), ([1, 0], 0)):
        found = match(logits[None, None], boxes[None, None], [target], SECOND_MATCHING, masks[None, None, order])
        assert found.queries.tolist() == [[best]]


def test_no_thing_matches_nothing() -> None:
    target = random_target(torch.Generator().manual_seed(2), 0)
    logits, boxes, masks = torch.zeros(1, 1, 4, THINGS), torch.full((1, 1, 4, 4), 0.5), torch.zeros(1, 1, 4, 8, 8)
    found = match(logits, boxes, [target], SECOND_MATCHING, masks)
    assert found.queries.shape == found.segments.shape == (1, 0)


def test_a_diverged_network_is_still_matched() -> None:
    """The check of the losses, which names the term, comes after the matching."""
    target = random_target(torch.Generator().manual_seed(3), 2)
    found = match(torch.full((1, 1, 4, THINGS), float("nan")), torch.full((1, 1, 4, 4), float("nan")), [target])
    assert found.queries.shape == (1, 2)


def test_layers_and_images_are_matched_by_themselves() -> None:
    """Matching together equals matching separately; the last image may use only its first two queries."""
    generator = torch.Generator().manual_seed(6)
    targets = [random_target(generator, count) for count in (3, 0, 5)]
    logits = torch.randn(2, 3, 4, THINGS, generator=generator)
    boxes = torch.rand(2, 3, 4, 4, generator=generator) * 0.4 + 0.1
    masks = torch.rand(2, 3, 4, 8, 8, generator=generator)
    candidates = [4, 4, 2]
    together = match(logits, boxes, targets, SECOND_MATCHING, masks, candidates)
    assert together.images.tolist() == [0, 0, 0, 2, 2]
    assert together.positions.tolist() == [0, 1, 2, 0, 1]
    first = 0
    for b, (target, queries) in enumerate(zip(targets, candidates, strict=True)):
        for layer in range(2):
            part = slice(layer, layer + 1), slice(b, b + 1), slice(queries)
            alone = match(logits[part], boxes[part], [target], SECOND_MATCHING, masks[part])
            of_image = together.images == b
            assert torch.equal(together.queries[layer, of_image], alone.queries[0])
            assert torch.equal(together.segments[layer, of_image], alone.segments[0] + first)
        first += len(target.query_labels)
    assert torch.equal(together.of(boxes)[1, 3], boxes[1, 2, together.queries[1, 3]])


def test_selection_is_padded_and_marked() -> None:
    generator = torch.Generator().manual_seed(4)
    targets = tuple(random_target(generator, count) for count in (2, 0, 3))
    logits, boxes = torch.randn(3, 6, THINGS, generator=generator), torch.full((3, 6, 4), 0.4)
    selection = MatchedQueries(targets)(logits, boxes[None])
    assert selection.valid.tolist() == [[True, True, False], [False] * 3, [True] * 3]
    for b, target in enumerate(targets):
        chosen = selection.labels[b, selection.valid[b]]
        assert sorted(chosen.tolist()) == sorted(target.query_labels.tolist())


def test_costs_of_which_none_counts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"train\.mask_matching: class_weight, l1_weight, .* are all 0, .* above 0"):
        MatchCosts(class_weight=0.0, l1_weight=0.0, giou_weight=0.0)
