"""Every rule of the benchmark on a case small enough to count by hand. A letter is a segment, a dot is void."""

import numpy as np
import pytest
from numpy.typing import NDArray

from panoptic.categories import CategoryTable
from panoptic.overlaps import count_overlaps
from panoptic.quality import (
    ClassQuality,
    QualityCounter,
    count_by_class,
    match_boundaries,
    match_overlaps,
    match_segments,
)
from panoptic.scoring import ScoringSettings, SemanticCount, score_picture
from panoptic.segments import SegmentLabel
from tests.tiny_dataset import CATEGORIES

BALL, STAR, SKY, WATER = 3, 7, 11, 20
# Lower case letters are balls and so on; capitals are crowd regions of the same classes.
CLASSES = {"a": BALL, "b": BALL, "c": BALL, "s": STAR, "t": STAR, "y": SKY, "w": WATER}


def _read(drawing: str) -> tuple[NDArray[np.int32], list[SegmentLabel]]:
    ids = np.array([[0 if letter == "." else ord(letter) for letter in drawing]], np.int32)
    letters = sorted(set(drawing) - {"."})
    return ids, [SegmentLabel(ord(letter), CLASSES[letter.lower()], letter.isupper()) for letter in letters]


def _counts(truth: str, prediction: str) -> dict[int, ClassQuality]:
    return count_by_class(match_segments(*_read(truth), *_read(prediction)))


@pytest.mark.parametrize(
    ("rule", "truth", "prediction", "expected"),
    [
        ("equal segments match", "aaayyy", "bbbyyy", {BALL: (1, 0, 0, 1.0), SKY: (1, 0, 0, 1.0)}),
        ("IoU of exactly one half is no match", "aayyyy", "aaaayy", {BALL: (0, 1, 1, 0.0), SKY: (0, 1, 1, 0.0)}),
        ("IoU above one half is", "aaawww", "aaaaww", {BALL: (1, 0, 0, 3 / 4), WATER: (1, 0, 0, 2 / 3)}),
        ("another class is no match", "aaa", "sss", {BALL: (0, 0, 1, 0.0), STAR: (0, 1, 0, 0.0)}),
        ("pixels left void by the prediction are missed", "aaaa", "....", {BALL: (0, 0, 1, 0.0)}),
        ("and count in the union", "aaaa", "aaa.", {BALL: (1, 0, 0, 3 / 4)}),
        ("true void leaves the union", "aaaaa....yyy", "aaaaaaaaayyy", {BALL: (1, 0, 0, 1.0), SKY: (1, 0, 0, 1.0)}),
        ("mostly on void is no false positive", "...yy", "aaaaa", {SKY: (0, 0, 1, 0.0)}),
        ("half on void is one", "..yy", "aaaa", {BALL: (0, 1, 0, 0.0), SKY: (0, 0, 1, 0.0)}),
        ("mostly on crowd of its class is none", "AAAyy", "aaaaa", {SKY: (0, 0, 1, 0.0)}),
        ("half on such a crowd is one", "AAyy", "aaaa", {BALL: (0, 1, 0, 0.0), SKY: (0, 0, 1, 0.0)}),
        ("crowd of another class forgives nothing", "SSSS", "aaaa", {BALL: (0, 1, 0, 0.0)}),
        ("void and crowd together forgive", ".AAyy", "aaaaa", {SKY: (0, 0, 1, 0.0)}),
        ("all crowd regions of a class forgive", "AABByyy", "ccccccc", {SKY: (0, 0, 1, 0.0)}),
        ("crowd is not missed", "AAAA", "....", {}),
        ("crowd is not found", "AAAA", "aaaa", {}),
        ("crowd pixels stay in the union", "aaaAA", "aaaaa", {BALL: (1, 0, 0, 3 / 5)}),
        ("a match is not also a false positive", "aaa....", "aaaaaaa", {BALL: (1, 0, 0, 1.0)}),
        ("two predictions share a segment", "aaaaaa", "aaaabb", {BALL: (1, 1, 0, 4 / 6)}),
        ("nothing anywhere", "....", "....", {}),
    ],
)
def test_rule(rule: str, truth: str, prediction: str, expected: dict[int, tuple[int, int, int, float]]) -> None:
    assert _counts(truth, prediction) == {key: ClassQuality(*values) for key, values in expected.items()}, rule


def _counter(*pictures: tuple[str, str]) -> QualityCounter:
    counter = QualityCounter(CategoryTable.from_json(CATEGORIES))
    for truth, prediction in pictures:
        counter.add(_counts(truth, prediction))
    return counter


def test_averages_are_over_the_classes_that_occur() -> None:
    # ball: one match of IoU 3/4, one spurious; star: one missed; sky: perfect; water does not occur.
    result = _counter(("aaaayy", "aaa.yy"), ("ssyyyy", "aayyyy")).result()
    ball = (3 / 4) / 1.5
    assert result.things.pq == pytest.approx((ball + 0) / 2, abs=1e-15)
    assert result.things.sq == pytest.approx((3 / 4 + 0) / 2, abs=1e-15)
    assert result.things.rq == pytest.approx((1 / 1.5 + 0) / 2, abs=1e-15)
    assert (result.stuff.pq, result.stuff.sq, result.stuff.rq) == (1.0, 1.0, 1.0)
    assert result.all.pq == pytest.approx((ball + 0 + 1) / 3, abs=1e-15)
    assert (result.all.classes, result.things.classes, result.stuff.classes) == (3, 2, 1)
    assert result.per_class[STAR] == ClassQuality(fn=1)
    assert (result.per_class[WATER].pq, result.per_class[WATER].sq, result.per_class[WATER].rq) == (None, None, None)


def test_an_empty_group_has_no_value() -> None:
    result = _counter(("aa", "aa")).result()
    assert (result.stuff.pq, result.stuff.sq, result.stuff.rq, result.stuff.classes) == (None, None, None, 0)
    assert _counter().result().all.pq is None


def test_matching_names_every_segment() -> None:
    matching = match_segments(*_read("aaaaass.."), *_read("bbbbbtttt"))
    assert [(match.truth_id, match.prediction_id, match.iou) for match in matching.matches] == [
        (ord("a"), ord("b"), 1.0),
        (ord("s"), ord("t"), 1.0),
    ]
    matching = match_segments(*_read("aaaassss"), *_read("aayyyyyy"))
    assert [segment.id for segment in matching.missed] == [ord("a"), ord("s")]
    assert [segment.id for segment in matching.spurious] == [ord("a"), ord("y")]


@pytest.mark.parametrize(
    ("rule", "truth", "prediction", "expected"),
    [
        ("equal maps", "aayy", "bbyy", {BALL: (2, 2), SKY: (2, 2)}),
        ("a wrong class is in both unions", "aay", "ayy", {BALL: (1, 2), SKY: (1, 2)}),
        ("instances do not matter", "aabb", "aaaa", {BALL: (4, 4)}),
        ("crowd counts as its class", "AAaa", "aaaa", {BALL: (4, 4)}),
        ("true void counts nowhere", "..aa", "yyaa", {BALL: (2, 2)}),
        ("predicted void is a miss", "aaaa", "aa..", {BALL: (2, 4)}),
    ],
)
def test_semantic_rule(rule: str, truth: str, prediction: str, expected: dict[int, tuple[int, int]]) -> None:
    score = score_picture(*_read(truth), *_read(prediction), ScoringSettings(boundary_ratio=0))
    assert score.semantic == {key: SemanticCount(*values) for key, values in expected.items()}, rule
    assert score.boundaries == {}


BOARD = """
aaaaaayyyy
aaaaaayyyy
aaaaaayyyy
aaaaaayyyy
aaaaaayyyy
"""


def test_boundary_quality_by_hand() -> None:
    """A block of 5 x 6 whose prediction lacks a pixel deep inside: 30 and 29 pixels, bands of 18 and 26."""
    truth = np.array([[ord(letter) for letter in row] for row in BOARD.split()], np.int32)
    prediction = truth.copy()
    prediction[2, 3] = ord("y")
    _, segments = _read("ay")
    overlaps = count_overlaps(truth, prediction, 1)
    (ball,) = [match for match in match_boundaries(overlaps, segments, segments).matches if match.category_id == BALL]
    # The hole puts its 8 neighbours into the band, of which 2 x 3 + 2 were inside: shared are the true band's 18.
    assert ball.iou == 18 / 26
    (ball,) = [match for match in match_overlaps(overlaps, segments, segments).matches if match.category_id == BALL]
    assert ball.iou == 29 / 30


def test_boundary_void_is_void_everywhere() -> None:
    """A prediction that goes on over true void loses nothing, although its band there is no true band."""
    truth = np.array([[ord("a")] * 4 + [0] * 4] * 6, np.int32)
    prediction = np.full_like(truth, ord("b"))
    _, (true,) = _read("a")
    _, (predicted,) = _read("b")
    (match,) = match_boundaries(count_overlaps(truth, prediction, 1), [true], [predicted]).matches
    # Bands of 4 x 6 less 2 x 4, and on the true pixels of the prediction of 4 x 6 less 3 x 4.
    assert match.iou == 12 / 16
