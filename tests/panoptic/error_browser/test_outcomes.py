"""What became of segments: cases counted by hand, and on random images against PQ, boundary PQ and the account."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from panoptic.error_browser.outcomes import FALSE_POSITIVES, MISSES, ImageOutcomes, image_losses, segment_outcomes
from panoptic.evaluation.error_breakdown import KINDS, breakdown_image
from panoptic.evaluation.error_pairs import explain_errors, segment_pairs
from panoptic.evaluation.overlaps import Overlaps, count_overlaps
from panoptic.evaluation.panoptic_quality import Matching, count_by_class, match_boundaries, match_overlaps
from panoptic.format.segments import SegmentLabel
from tests.tiny_dataset import STUFF, THINGS, random_image

BALL, STAR, SKY = 3, 7, 11
CLASSES = {"a": BALL, "b": BALL, "c": BALL, "s": STAR, "y": SKY}


def read(drawing: str) -> tuple[NDArray[np.int32], list[SegmentLabel]]:
    """Rows are parted by `/`; a letter is a segment, a capital a crowd region, a dot void."""
    ids = np.array([[0 if letter == "." else ord(letter) for letter in row] for row in drawing.split("/")], np.int32)
    letters = sorted(set(drawing) - set("./"))
    return ids, [SegmentLabel(ord(letter), CLASSES[letter.lower()], letter.isupper()) for letter in letters]


def outcomes_of(
    overlaps: Overlaps,
    ground_truth: list[SegmentLabel],
    prediction: list[SegmentLabel],
    candidates: Mapping[int, float],
) -> tuple[ImageOutcomes, Matching]:
    matching = match_overlaps(overlaps, ground_truth, prediction)
    pairs = segment_pairs(overlaps)
    explained = explain_errors(pairs, prediction, matching)
    return segment_outcomes(pairs, ground_truth, prediction, matching, explained, candidates), matching


@pytest.mark.parametrize(
    ("rule", "ground_truth", "prediction", "expected"),
    [
        ("a match", "aaaa", "aaab", "a matched a | a matched a, b spurious a"),
        ("nothing there", "aa", "..", "a missed -"),
        ("nothing true there", "..yy", "aayy", "y matched y | a forgiven -, y matched y"),
        ("in the place of stuff", "yyyy", "yyya", "y matched y | a spurious y, y matched y"),
        ("another class", "aaaa", "ssss", "a wrong_class s | s wrong_class a"),
        ("another class, mostly over void", "aa....", "ssssss", "a wrong_class s | s forgiven a"),
        ("too little of it", "aayy", "aaaa", "a localization a, y missed a | a localization a"),
        ("swallowed by a neighbor", "ayyyyy", "yyyyyy", "a missed y, y matched y | y matched y"),
        (
            "met most, but for two pixels",
            "aaaaayyyyy",
            "yyyssyyyyy",
            "a missed y, y matched y | s spurious a, y matched y",
        ),
        ("a crowd", "AAAA", "aa..", "A crowd a | a forgiven A"),
    ],
)
def test_by_hand(rule: str, ground_truth: str, prediction: str, expected: str) -> None:
    (gt_ids, gt), (prediction_ids, predicted) = read(ground_truth), read(prediction)
    found, _ = outcomes_of(count_overlaps(gt_ids, prediction_ids), gt, predicted, {})
    sides = [
        ", ".join(
            f"{chr(one.segment_id)} {one.outcome} {'-' if one.other_id is None else chr(one.other_id)}" for one in side
        )
        for side in (found.ground_truth, found.prediction)
        if side
    ]
    assert " | ".join(sides) == expected, rule


def test_a_thing_that_the_merging_lost_keeps_the_segment_that_it_met() -> None:
    (gt_ids, gt), (prediction_ids, predicted) = read("aaaabb"), read("ssssbb")
    found, _ = outcomes_of(count_overlaps(gt_ids, prediction_ids), gt, predicted, {ord("a"): 0.8, ord("b"): 0.9})
    lost, kept = found.ground_truth
    assert (lost.outcome, lost.other_id, lost.other_category_id, lost.iou) == ("merging", ord("s"), STAR, 1.0)
    assert kept.outcome == "matched"
    assert found.prediction[1].outcome == "wrong_class", "the star is no less wrong for that"


def test_numbers_are_those_of_the_pair_and_zero_without_one() -> None:
    (gt_ids, gt), (prediction_ids, predicted) = read("aaab"), read("aa..")
    found, _ = outcomes_of(count_overlaps(gt_ids, prediction_ids), gt, predicted, {})
    assert [one.iou for one in found.ground_truth] == [2 / 3, 0.0]
    assert [one.boundary_iou for one in found.ground_truth] == [0.0, 0.0], "no band was counted"


def _random_case(seed: int) -> tuple[Overlaps, list[SegmentLabel], list[SegmentLabel], dict[int, float]]:
    rng = np.random.default_rng(seed)
    ground_truth = random_image(rng, 1, 16, 20, side=int(rng.integers(2, 7)))
    ids = np.roll(ground_truth.ids, rng.integers(-2, 3, 2), (0, 1))
    ids[rng.random(ids.shape) < rng.choice([0.0, 0.1, 0.3])] = 0
    prediction = [
        SegmentLabel(one.id, one.category_id if rng.random() < 0.7 else int(rng.choice((*THINGS, *STUFF))), False)
        for one in ground_truth.segments
        if np.any(ids == one.id)
    ]
    things = [one.id for one in ground_truth.segments if one.category_id in THINGS and not one.is_crowd]
    candidates = {thing: float(rng.random()) for thing in things if rng.random() < 0.5}
    return count_overlaps(ground_truth.ids, ids, 1), list(ground_truth.segments), prediction, candidates


@pytest.mark.parametrize("seed", range(60))
def test_every_segment_has_one_outcome_and_they_add_up_to_pq_and_to_the_breakdown(seed: int) -> None:
    overlaps, ground_truth, prediction, candidates = _random_case(seed)
    found, matching = outcomes_of(overlaps, ground_truth, prediction, candidates)
    assert [one.segment_id for one in found.ground_truth] == [one.id for one in ground_truth]
    assert [one.segment_id for one in found.prediction] == [one.id for one in prediction]
    assert {one.outcome for one in found.ground_truth} <= {"matched", "crowd", *MISSES}
    assert {one.outcome for one in found.prediction} <= {"matched", "forgiven", *FALSE_POSITIVES}

    error_breakdown = breakdown_image(overlaps, prediction, matching, candidates)
    for category_id, counts in count_by_class(matching).items():
        gt, predicted = (
            Counter(one.outcome for one in side if one.category_id == category_id)
            for side in (found.ground_truth, found.prediction)
        )
        assert gt["matched"] == predicted["matched"] == counts.tp
        assert sum(gt[kind] for kind in MISSES) == counts.fn
        assert sum(predicted[kind] for kind in FALSE_POSITIVES) == counts.fp
        lost = error_breakdown.classes[category_id].lost
        halves = {kind: gt[kind] + predicted[kind] - (0 if kind in MISSES else gt[kind]) for kind in KINDS[:5]}
        assert {kind: 2 * getattr(lost, kind) for kind in KINDS[:5]} == halves
        matched = [one.iou for one in found.ground_truth if one.outcome == "matched" and one.category_id == category_id]
        assert sum(matched) == pytest.approx(counts.iou_sum, abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_boundary_iou_is_that_of_boundary_pq(seed: int) -> None:
    overlaps, ground_truth, prediction, _ = _random_case(seed)
    pairs = segment_pairs(overlaps)
    for match in match_boundaries(overlaps, ground_truth, prediction).matches:
        pair = pairs[match.gt_id, match.prediction_id]
        assert min(pair.iou, pair.boundary_iou) == match.iou


@pytest.mark.parametrize("seed", range(20))
def test_losses_of_a_image_add_up_to_what_its_pq_lacks(seed: int) -> None:
    overlaps, ground_truth, prediction, candidates = _random_case(seed)
    matching = match_overlaps(overlaps, ground_truth, prediction)
    qualities = [count.pq for count in count_by_class(matching).values() if count.pq is not None]
    losses = image_losses(breakdown_image(overlaps, prediction, matching, candidates))
    assert tuple(losses) == KINDS
    assert sum(losses.values()) == pytest.approx(1 - sum(qualities) / len(qualities), abs=1e-12)
