"""Every rule of the benchmark on a case small enough to count by hand. A letter is a segment, a dot is void."""

import numpy as np
import pytest
from numpy.typing import NDArray

from panoptic.evaluation.image import ScoringSettings, SegmentedImage, boundary_distance, evaluate_image
from panoptic.evaluation.overlaps import count_overlaps
from panoptic.evaluation.panoptic_quality import Matching, MatchingRules, match_boundaries, match_overlaps
from panoptic.evaluation.scores import (
    ClassQuality,
    ImageCounts,
    ScoreCounter,
    Scores,
    SemanticCount,
    count_by_class,
    count_image,
)
from panoptic.format.categories import CategoryTable
from panoptic.format.segments import AnnotatedSegment, SegmentLabel
from panoptic.io.errors import DatasetError
from tests.tiny_dataset import CATEGORIES

BALL, STAR, SKY, WATER = 3, 7, 11, 20
# Lower case letters are balls and so on; capitals are crowd regions of the same classes.
CLASSES = {"a": BALL, "b": BALL, "c": BALL, "s": STAR, "t": STAR, "y": SKY, "w": WATER}


def _read(drawing: str) -> tuple[NDArray[np.int32], list[SegmentLabel]]:
    ids = np.array([[0 if letter == "." else ord(letter) for letter in drawing]], np.int32)
    letters = sorted(set(drawing) - {"."})
    return ids, [SegmentLabel(ord(letter), CLASSES[letter.lower()], letter.isupper()) for letter in letters]


def _match(ground_truth: str, prediction: str) -> Matching:
    (gt_ids, gt), (prediction_ids, predicted) = _read(ground_truth), _read(prediction)
    return match_overlaps(count_overlaps(gt_ids, prediction_ids), gt, predicted)


def _counts(ground_truth: str, prediction: str) -> dict[int, ClassQuality]:
    return count_by_class(_match(ground_truth, prediction))


@pytest.mark.parametrize(
    ("rule", "ground_truth", "prediction", "expected"),
    [
        ("equal segments match", "aaayyy", "bbbyyy", {BALL: (1, 0, 0, 1.0), SKY: (1, 0, 0, 1.0)}),
        ("IoU of exactly one half is no match", "aayyyy", "aaaayy", {BALL: (0, 1, 1, 0.0), SKY: (0, 1, 1, 0.0)}),
        ("IoU above one half is", "aaawww", "aaaaww", {BALL: (1, 0, 0, 3 / 4), WATER: (1, 0, 0, 2 / 3)}),
        ("another class is no match", "aaa", "sss", {BALL: (0, 0, 1, 0.0), STAR: (0, 1, 0, 0.0)}),
        ("pixels left void by the prediction are missed", "aaaa", "....", {BALL: (0, 0, 1, 0.0)}),
        ("and count in the union", "aaaa", "aaa.", {BALL: (1, 0, 0, 3 / 4)}),
        (
            "true void leaves the union",
            "aaaaa....yyy",
            "aaaaaaaaayyy",
            {BALL: (1, 0, 0, 1.0), SKY: (1, 0, 0, 1.0)},
        ),
        ("mostly on void is no false positive", "...yy", "aaaaa", {SKY: (0, 0, 1, 0.0)}),
        ("half on void is one", "..yy", "aaaa", {BALL: (0, 1, 0, 0.0), SKY: (0, 0, 1, 0.0)}),
        ("mostly on crowd of its class is none", "AAAyy", "aaaaa", {SKY: (0, 0, 1, 0.0)}),
        ("half on such a crowd is one", "AAyy", "aaaa", {BALL: (0, 1, 0, 0.0), SKY: (0, 0, 1, 0.0)}),
        ("crowd of another class does not make it ignored", "SSSS", "aaaa", {BALL: (0, 1, 0, 0.0)}),
        ("void and crowd together make it ignored", ".AAyy", "aaaaa", {SKY: (0, 0, 1, 0.0)}),
        ("all crowd regions of a class count", "AABByyy", "ccccccc", {SKY: (0, 0, 1, 0.0)}),
        ("crowd is not missed", "AAAA", "....", {}),
        ("crowd is not found", "AAAA", "aaaa", {}),
        ("crowd pixels stay in the union", "aaaAA", "aaaaa", {BALL: (1, 0, 0, 3 / 5)}),
        ("a match is not also a false positive", "aaa....", "aaaaaaa", {BALL: (1, 0, 0, 1.0)}),
        ("two predictions share a segment", "aaaaaa", "aaaabb", {BALL: (1, 1, 0, 4 / 6)}),
        ("nothing anywhere", "....", "....", {}),
    ],
)
def test_rule(rule: str, ground_truth: str, prediction: str, expected: dict[int, tuple[int, int, int, float]]) -> None:
    assert _counts(ground_truth, prediction) == {key: ClassQuality(*values) for key, values in expected.items()}, rule


def _image_counts(ground_truth: str, prediction: str) -> ImageCounts:
    sides = SegmentedImage(*_read(ground_truth)), SegmentedImage(*_read(prediction))
    return count_image(evaluate_image(*sides, ScoringSettings(boundary_ratio=0)))


def _scores(*images: tuple[str, str]) -> Scores:
    counter = ScoreCounter(CategoryTable.from_json(CATEGORIES), ScoringSettings(boundary_ratio=0))
    for ground_truth, prediction in images:
        counter.add(_image_counts(ground_truth, prediction))
    return counter.result()


def _qualities(scores: Scores, group: str) -> list[float | None]:
    return [scores.average(name, group) for name in ("pq", "sq", "rq")]


def test_averages_are_over_the_classes_that_occur() -> None:
    # ball: one match of IoU 3/4, one false positive; star: one missed; sky: perfect; water does not occur.
    result = _scores(("aaaayy", "aaa.yy"), ("ssyyyy", "aayyyy"))
    ball = (3 / 4) / 1.5
    expected = [(ball + 0) / 2, (3 / 4 + 0) / 2, (1 / 1.5 + 0) / 2]
    assert _qualities(result, "things") == pytest.approx(expected, abs=1e-15)
    assert _qualities(result, "stuff") == [1.0, 1.0, 1.0]
    assert result.average("pq") == pytest.approx((ball + 0 + 1) / 3, abs=1e-15)
    assert result.classes == {"all": 3, "things": 2, "stuff": 1}
    assert result.sums["pq"][STAR] == ClassQuality(fn=1)
    assert result.per_class(result.metrics[0])[WATER] == {"pq": None, "sq": None, "rq": None}


def test_an_empty_group_has_no_value() -> None:
    result = _scores(("aa", "aa"))
    assert _qualities(result, "stuff") == [None, None, None]
    assert result.classes["stuff"] == 0
    assert _scores().average("pq") is None


def test_matching_names_every_segment() -> None:
    matching = _match("aaaaass..", "bbbbbtttt")
    assert [(match.gt_id, match.prediction_id, match.iou) for match in matching.matches] == [
        (ord("a"), ord("b"), 1.0),
        (ord("s"), ord("t"), 1.0),
    ]
    matching = _match("aaaassss", "aayyyyyy")
    assert [segment.id for segment in matching.false_negatives] == [ord("a"), ord("s")]
    assert [segment.id for segment in matching.false_positives] == [ord("a"), ord("y")]


def _public(ground_truth: str, listed: str, areas: dict[str, int], prediction: str) -> dict[int, ClassQuality]:
    """Counts by panopticapi's rules, with the letters `listed` in that order, and some `areas` unlike the pixels."""
    (gt_ids, _), (prediction_ids, predicted) = _read(ground_truth), _read(prediction)
    gt = [
        AnnotatedSegment(
            ord(letter), CLASSES[letter.lower()], letter.isupper(), areas.get(letter, ground_truth.count(letter))
        )
        for letter in listed
    ]
    return count_by_class(
        match_overlaps(count_overlaps(gt_ids, prediction_ids), gt, predicted, MatchingRules(panopticapi=True))
    )


@pytest.mark.parametrize(
    ("rule", "ground_truth", "listed", "areas", "prediction", "expected"),
    [
        ("the JSON's area is in the union", "aaaa", "a", {"a": 5}, "bbbb", {BALL: (1, 0, 0, 4 / 5)}),
        ("even if the union is then too small", "aaaa", "a", {"a": 3}, "bbbb", {BALL: (1, 0, 0, 4 / 3)}),
        ("an area that leaves no union is no match", "aaaa", "a", {"a": 0}, "bbbb", {BALL: (0, 1, 1, 0.0)}),
        ("the last crowd region of a class counts", "AABBByyy", "ABy", {}, "ccccc...", {SKY: (0, 0, 1, 0.0)}),
        ("the others do not", "AABBByyy", "BAy", {}, "ccccc...", {BALL: (0, 1, 0, 0.0), SKY: (0, 0, 1, 0.0)}),
        ("listed but not drawn is missed", "aaaa", "ab", {"b": 9}, "cccc", {BALL: (1, 0, 1, 1.0)}),
        ("drawn but not listed is nothing", "aaaayy", "a", {}, "ccccww", {BALL: (1, 0, 0, 1.0), WATER: (0, 1, 0, 0.0)}),
    ],
)
def test_rule_of_panopticapi(
    rule: str,
    ground_truth: str,
    listed: str,
    areas: dict[str, int],
    prediction: str,
    expected: dict[int, tuple[int, int, int, float]],
) -> None:
    counts = _public(ground_truth, listed, areas, prediction)
    assert counts == {key: ClassQuality(*values) for key, values in expected.items()}, rule


def test_panopticapi_needs_every_area() -> None:
    ids, segments = _read("aabb")
    with pytest.raises(DatasetError, match=f"segment {ord('a')} has no 'area'"):
        match_overlaps(count_overlaps(ids, ids), segments, segments, MatchingRules(panopticapi=True))


@pytest.mark.parametrize(
    ("rule", "ground_truth", "prediction", "expected"),
    [
        ("equal maps", "aayy", "bbyy", {BALL: (2, 2), SKY: (2, 2)}),
        ("a wrong class is in both unions", "aay", "ayy", {BALL: (1, 2), SKY: (1, 2)}),
        ("instances do not matter", "aabb", "aaaa", {BALL: (4, 4)}),
        ("crowd counts as its class", "AAaa", "aaaa", {BALL: (4, 4)}),
        ("true void counts nowhere", "..aa", "yyaa", {BALL: (2, 2)}),
        ("predicted void is a miss", "aaaa", "aa..", {BALL: (2, 4)}),
    ],
)
def test_semantic_rule(rule: str, ground_truth: str, prediction: str, expected: dict[int, tuple[int, int]]) -> None:
    counts = _image_counts(ground_truth, prediction)
    assert counts["miou"] == {key: SemanticCount(*values) for key, values in expected.items()}, rule
    assert "boundary_pq" not in counts


@pytest.mark.parametrize(
    ("height", "width", "ratio", "expected"),
    [
        (3, 4, 0.02, 1),  # never less
        (45, 60, 0.02, 2),  # 1.5: halves go to the even number
        (75, 100, 0.02, 2),  # 2.5
        (480, 640, 0.02, 16),
        (480, 640, 0.005, 4),
        (480, 640, 0, 0),  # off
    ],
)
def test_width_of_the_band(height: int, width: int, ratio: float, expected: int) -> None:
    assert boundary_distance(height, width, ratio) == expected


BOARD = """
aaaaaayyyy
aaaaaayyyy
aaaaaayyyy
aaaaaayyyy
aaaaaayyyy
"""


def test_boundary_quality_by_hand() -> None:
    """A block of 5 x 6 whose prediction lacks a pixel deep inside: 30 and 29 pixels, bands of 18 and 26."""
    ground_truth = np.array([[ord(letter) for letter in row] for row in BOARD.split()], np.int32)
    prediction = ground_truth.copy()
    prediction[2, 3] = ord("y")
    _, segments = _read("ay")
    overlaps = count_overlaps(ground_truth, prediction, 1)
    (ball,) = [match for match in match_boundaries(overlaps, segments, segments).matches if match.category_id == BALL]
    # The hole puts its 8 neighbors into the band, of which 2 x 3 + 2 were inside: shared are the true band's 18.
    assert ball.iou == 18 / 26
    (ball,) = [match for match in match_overlaps(overlaps, segments, segments).matches if match.category_id == BALL]
    assert ball.iou == 29 / 30


def test_boundary_void_is_void_everywhere() -> None:
    """A prediction that extends over true void loses nothing, although there is no true band there."""
    ground_truth = np.array([[ord("a")] * 4 + [0] * 4] * 6, np.int32)
    prediction = np.full_like(ground_truth, ord("b"))
    _, (gt,) = _read("a")
    _, (predicted,) = _read("b")
    (match,) = match_boundaries(count_overlaps(ground_truth, prediction, 1), [gt], [predicted]).matches
    # Bands of 4 x 6 less 2 x 4, and on the true pixels of the prediction of 4 x 6 less 3 x 4.
    assert match.iou == 12 / 16


def test_whole_masks_decide_what_is_ignored_in_a_boundary_mismatch() -> None:
    """Mask IoU 1, boundary IoU below one half: no match; most of the prediction lies on void all the same."""
    ground_truth = np.zeros((9, 20), np.int32)
    ground_truth[:, :9] = ord("a")
    prediction = np.full_like(ground_truth, ord("b"))
    prediction[1:8:2, 1:8:2] = 0
    _, (gt,) = _read("a")
    _, (predicted,) = _read("b")
    overlaps = count_overlaps(ground_truth, prediction, 1)
    (mask,) = match_overlaps(overlaps, [gt], [predicted]).matches
    assert mask.iou == 65 / 81
    matching = match_boundaries(overlaps, [gt], [predicted])
    # All of its 65 pixels that count are band, of the true segment only the outer 32: 32 / 65.
    assert (matching.matches, matching.false_negatives, matching.false_positives) == ((), (gt,), ())
