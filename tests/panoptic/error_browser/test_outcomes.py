"""Outcomes of segments: by hand, and on random images against PQ, boundary PQ and the error breakdown."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from panoptic.error_browser.entries import FALSE_NEGATIVES, FALSE_POSITIVES
from panoptic.error_browser.outcomes import ImageOutcomes, image_pq_loss, segment_outcomes
from panoptic.evaluation.error_breakdown import ERROR_TYPES, breakdown_image
from panoptic.evaluation.error_pairs import ErrorPairs, find_error_pairs
from panoptic.evaluation.image import ImageEvaluation, ScoringSettings, SegmentedImage, evaluate_image
from panoptic.evaluation.scores import count_by_class
from panoptic.format.segments import SegmentLabel
from tests.tiny_dataset import STUFF, THINGS, random_image

BALL, STAR, SKY = 3, 7, 11
CLASSES = {"a": BALL, "b": BALL, "c": BALL, "s": STAR, "y": SKY}


def read(drawing: str) -> tuple[NDArray[np.int32], list[SegmentLabel]]:
    """Rows are parted by `/`; a letter is a segment, a capital a crowd region, a dot void."""
    ids = np.array([[0 if letter == "." else ord(letter) for letter in row] for row in drawing.split("/")], np.int32)
    letters = sorted(set(drawing) - set("./"))
    return ids, [SegmentLabel(ord(letter), CLASSES[letter.lower()], letter.isupper()) for letter in letters]


def errors_of(evaluation: ImageEvaluation, candidates: Mapping[int, float]) -> ErrorPairs:
    """The errors, with the best IoU of a raw instance for some ground truth segments."""
    return replace(find_error_pairs(evaluation), merging={key: iou for key, iou in candidates.items() if iou > 0.5})


def outcomes_of(ground_truth: str, prediction: str, candidates: Mapping[int, float]) -> ImageOutcomes:
    sides = SegmentedImage(*read(ground_truth)), SegmentedImage(*read(prediction))
    evaluation = evaluate_image(*sides, ScoringSettings(boundary_ratio=0))
    return segment_outcomes(evaluation, errors_of(evaluation, candidates))


@pytest.mark.parametrize(
    ("rule", "ground_truth", "prediction", "expected"),
    [
        ("a match", "aaaa", "aaab", "a matched a | a matched a, b background a"),
        ("nothing there", "aa", "..", "a missed -"),
        ("nothing true there", "..yy", "aayy", "y matched y | a ignored -, y matched y"),
        ("in the place of stuff", "yyyy", "yyya", "y matched y | a background y, y matched y"),
        ("another class", "aaaa", "ssss", "a classification s | s classification a"),
        ("another class, mostly over void", "aa....", "ssssss", "a classification s | s ignored a"),
        ("too little of it", "aayy", "aaaa", "a localization a, y missed a | a localization a"),
        ("swallowed by a neighbor", "ayyyyy", "yyyyyy", "a missed y, y matched y | y matched y"),
        (
            "met most, but for two pixels",
            "aaaaayyyyy",
            "yyyssyyyyy",
            "a missed y, y matched y | s background a, y matched y",
        ),
        ("a crowd", "AAAA", "aa..", "A crowd a | a ignored A"),
    ],
)
def test_by_hand(rule: str, ground_truth: str, prediction: str, expected: str) -> None:
    found = outcomes_of(ground_truth, prediction, {})
    sides = [
        ", ".join(
            f"{chr(one.segment_id)} {one.outcome} {'-' if one.other_id is None else chr(one.other_id)}" for one in side
        )
        for side in (found.ground_truth, found.prediction)
        if side
    ]
    assert " | ".join(sides) == expected, rule


def test_a_thing_lost_in_merging_keeps_the_segment_that_it_met() -> None:
    found = outcomes_of("aaaabb", "ssssbb", {ord("a"): 0.8, ord("b"): 0.9})
    lost, kept = found.ground_truth
    assert (lost.outcome, lost.other_id, lost.other_category_id, lost.iou) == ("merging", ord("s"), STAR, 1.0)
    assert kept.outcome == "matched"
    assert found.prediction[1].outcome == "classification", "the star is no less wrong for that"


def test_numbers_are_those_of_the_pair_and_zero_without_one() -> None:
    found = outcomes_of("aaab", "aa..", {})
    assert [one.iou for one in found.ground_truth] == [2 / 3, 0.0]
    assert [one.boundary_iou for one in found.ground_truth] == [0.0, 0.0], "no band was counted"


def _random_case(seed: int) -> tuple[ImageEvaluation, ErrorPairs]:
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
    sides = SegmentedImage(ground_truth.ids, ground_truth.segments), SegmentedImage(ids, prediction)
    evaluation = evaluate_image(*sides, ScoringSettings())
    return evaluation, errors_of(evaluation, candidates)


@pytest.mark.parametrize("seed", range(60))
def test_every_segment_has_one_outcome_and_they_add_up_to_pq_and_to_the_breakdown(seed: int) -> None:
    evaluation, errors = _random_case(seed)
    found = segment_outcomes(evaluation, errors)
    assert [one.segment_id for one in found.ground_truth] == [one.id for one in evaluation.ground_truth.segments]
    assert [one.segment_id for one in found.prediction] == [one.id for one in evaluation.prediction.segments]
    assert {one.outcome for one in found.ground_truth} <= {"matched", "crowd", *FALSE_NEGATIVES}
    assert {one.outcome for one in found.prediction} <= {"matched", "ignored", *FALSE_POSITIVES}

    error_breakdown = breakdown_image(evaluation.matching, errors)
    for category_id, counts in count_by_class(evaluation.matching).items():
        gt, predicted = (
            Counter(one.outcome for one in side if one.category_id == category_id)
            for side in (found.ground_truth, found.prediction)
        )
        assert gt["matched"] == predicted["matched"] == counts.tp
        assert sum(gt[error] for error in FALSE_NEGATIVES) == counts.fn
        assert sum(predicted[error] for error in FALSE_POSITIVES) == counts.fp
        pq_loss = error_breakdown.classes[category_id].pq_loss
        halves = {error: gt[error] + predicted[error] for error in ERROR_TYPES[:5]}
        assert {error: 2 * getattr(pq_loss, error) for error in ERROR_TYPES[:5]} == halves
        matched = [one.iou for one in found.ground_truth if one.outcome == "matched" and one.category_id == category_id]
        assert sum(matched) == pytest.approx(counts.iou_sum, abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_boundary_iou_is_that_of_boundary_pq(seed: int) -> None:
    evaluation, errors = _random_case(seed)
    for match in evaluation.boundary_matching.matches:
        pair = errors.pairs[match.gt_id, match.prediction_id]
        assert min(pair.iou, pair.boundary_iou) == match.iou


@pytest.mark.parametrize("seed", range(20))
def test_error_types_add_up_to_the_pq_loss_of_an_image(seed: int) -> None:
    evaluation, errors = _random_case(seed)
    qualities = [count.pq for count in count_by_class(evaluation.matching).values() if count.pq is not None]
    losses = image_pq_loss(breakdown_image(evaluation.matching, errors))
    assert tuple(losses) == ERROR_TYPES
    assert sum(losses.values()) == pytest.approx(1 - sum(qualities) / len(qualities), abs=1e-12)
