"""The error breakdown of cases counted by hand, its sums on random images, and the raw instances it looks at."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from panoptic.evaluation.error_breakdown import (
    ERROR_TYPES,
    ORACLES,
    BreakdownTable,
    ErrorBreakdown,
    PqLoss,
    breakdown_image,
    error_breakdown_table,
)
from panoptic.evaluation.error_pairs import ErrorPairs, candidate_ious, explain_errors, segment_pairs
from panoptic.evaluation.image import ScoringSettings, SegmentedImage, evaluate_image
from panoptic.evaluation.overlaps import Overlaps, count_overlaps
from panoptic.evaluation.panoptic_quality import Matching, match_overlaps
from panoptic.evaluation.scores import ScoreCounter, Scores, count_image
from panoptic.format.categories import CategoryTable
from panoptic.format.segments import SegmentLabel
from panoptic.instances.detection_json import encode_mask
from panoptic.instances.rle import Rle
from panoptic.io.errors import DatasetError
from tests.tiny_dataset import CATEGORIES, STUFF, THINGS, TinyImage, random_image

TABLE = CategoryTable.from_json(CATEGORIES)
SETTINGS = ScoringSettings()
BALL, STAR, SKY, WATER = 3, 7, 11, 20
CLASSES = {"a": BALL, "b": BALL, "c": BALL, "s": STAR, "t": STAR, "y": SKY, "w": WATER}


def _read(drawing: str) -> tuple[NDArray[np.int32], list[SegmentLabel]]:
    """Rows are parted by `/`; a letter is a segment, a capital a crowd region, a dot void."""
    ids = np.array([[0 if letter == "." else ord(letter) for letter in row] for row in drawing.split("/")], np.int32)
    letters = sorted(set(drawing) - set("./"))
    return ids, [SegmentLabel(ord(letter), CLASSES[letter.lower()], letter.isupper()) for letter in letters]


def _breakdown(
    overlaps: Overlaps,
    predicted: Sequence[SegmentLabel],
    matching: Matching,
    candidates: Mapping[int, float],
) -> ErrorBreakdown:
    pairs = segment_pairs(overlaps)
    merging = {key: iou for key, iou in candidates.items() if iou > 0.5}
    return breakdown_image(matching, ErrorPairs(pairs, explain_errors(pairs, predicted, matching), merging))


def _error_breakdown(
    ground_truth: str, prediction: str, candidates: Mapping[str, float] | None = None
) -> ErrorBreakdown:
    (gt_ids, gt), (prediction_ids, predicted) = _read(ground_truth), _read(prediction)
    overlaps = count_overlaps(gt_ids, prediction_ids, 1)
    ious = {ord(letter): iou for letter, iou in (candidates or {}).items()}
    return _breakdown(overlaps, predicted, match_overlaps(overlaps, gt, predicted), ious)


Halves = dict[int, dict[str, int]]


@pytest.mark.parametrize(
    ("rule", "ground_truth", "prediction", "expected"),
    [
        ("nothing there", "aaa", "...", {BALL: {"missed": 1}}),
        ("nothing true there", "yyyy", "yyya", {BALL: {"background": 1}, SKY: {}}),
        ("another class", "aaaa", "ssss", {BALL: {"classification": 1}, STAR: {"classification": 1}}),
        ("another class over void", "aaaa..", "ssssss", {BALL: {"classification": 1}, STAR: {"classification": 1}}),
        ("another class, ignored", "aa....", "ssssss", {BALL: {"classification": 1}}),
        (
            "another class of IoU one half",
            "aayy",
            "ssss",
            {BALL: {"missed": 1}, STAR: {"background": 1}, SKY: {"missed": 1}},
        ),
        ("IoU of one half", "aayy", "aaaa", {BALL: {"localization": 2}, SKY: {"missed": 1}}),
        (
            "IoU of a tenth",
            "aayyyyyyyyywwwwwwwww",
            "aaaaaaaaaaaaaaaaaaaa",
            {BALL: {"localization": 2}, SKY: {"missed": 1}, WATER: {"missed": 1}},
        ),
        (
            "IoU below a tenth",
            "ayyyyywwwww",
            "aaaaaaaaaaa",
            {BALL: {"missed": 1, "background": 1}, SKY: {"missed": 1}, WATER: {"missed": 1}},
        ),
        (
            "one of two",
            "aaaaaayyyyyy",
            "aaabbyyyyyyy",
            {BALL: {"localization": 2, "background": 1}, SKY: {}},
        ),
        ("both ways", "aaaaaabbb", "ccaaaaaaa", {BALL: {"localization": 2, "missed": 1, "background": 1}}),
        ("the largest IoU first", "aaaaaaaaaabbbbb", "bbbb...aaaaa...", {BALL: {"localization": 4}}),
        ("crowd is not lost", "AAAA", "yyyy", {SKY: {"background": 1}}),
    ],
)
def test_error_type(rule: str, ground_truth: str, prediction: str, expected: Halves) -> None:
    error_breakdown = _error_breakdown(ground_truth, prediction)
    found = {
        key: {error: 2 * getattr(entry.pq_loss, error) for error in ERROR_TYPES[:5] if getattr(entry.pq_loss, error)}
        for key, entry in error_breakdown.classes.items()
    }
    assert found == expected, rule


def test_a_miss_is_lost_in_merging_before_all_else() -> None:
    error_breakdown = _error_breakdown("aaaabbbb", "ssss....", {"a": 0.8, "b": 0.5})
    ball, star = error_breakdown.classes[BALL], error_breakdown.classes[STAR]
    assert (ball.pq_loss.merging, ball.pq_loss.missed, ball.pq_loss.classification) == (0.5, 0.5, 0)
    merged = ball.oracle.perfect_merging
    assert (merged.tp, merged.fn, merged.iou_sum) == (1, 1, 0.8)
    # The star is no less wrong for that, and perfect classes mend both.
    assert star.pq_loss.classification == 0.5
    assert (ball.oracle.perfect_classes.tp, star.oracle.perfect_classes.fp) == (1, 0)
    assert ball.oracle.perfect_masks == ball.present


def test_a_large_iou_within_one_class_without_a_match_is_localization() -> None:
    # So it is where a match is judged by the area that a JSON claims.
    (gt_ids, gt), (prediction_ids, predicted) = _read("aaaa"), _read("aaa.")
    unmatched = Matching((), tuple(gt), tuple(predicted))
    error_breakdown = _breakdown(count_overlaps(gt_ids, prediction_ids), predicted, unmatched, {})
    assert error_breakdown.classes[BALL].pq_loss == PqLoss(localization=1.0)


def test_disagreement_is_split_by_the_band_of_the_segment_that_it_belongs_to() -> None:
    # A true 5 x 5 ball, its middle and a corner given to the sky: the corner lies in its band, the middle deeper.
    ground_truth = "aaaaayy/aaaaayy/aaaaayy/aaaaayy/aaaaayy"
    prediction = "yaaaayy/aaaaayy/aayaayy/aaaaayy/aaaaayy"
    error_breakdown = _error_breakdown(ground_truth, prediction).classes
    assert error_breakdown[BALL].pq_loss.boundary == pytest.approx(1 / 25, abs=1e-15)
    assert error_breakdown[BALL].pq_loss.interior == pytest.approx(1 / 25, abs=1e-15)
    # Both pixels are in the predicted sky's band: each touches the ball.
    assert error_breakdown[SKY].pq_loss.boundary == pytest.approx(2 / 12, abs=1e-15)
    assert error_breakdown[SKY].pq_loss.interior == pytest.approx(0, abs=1e-15)


def test_disagreement_on_void_of_the_ground_truth_is_none() -> None:
    assert (
        _error_breakdown("aaaa..", "aaaaaa").classes[BALL].pq_loss
        == _error_breakdown("aaaa", "aaaa").classes[BALL].pq_loss
    )
    assert astuple(_error_breakdown("aaaa", "aaaa").classes[BALL].pq_loss) == (0,) * 7


def test_without_bands_all_disagreement_is_interior() -> None:
    (gt_ids, gt), (prediction_ids, predicted) = _read("aaaay"), _read("aaayy")
    overlaps = count_overlaps(gt_ids, prediction_ids)
    error_breakdown = _breakdown(overlaps, predicted, match_overlaps(overlaps, gt, predicted), {})
    assert (error_breakdown.classes[BALL].pq_loss.boundary, error_breakdown.classes[BALL].pq_loss.interior) == (
        0,
        1 / 4,
    )


def test_oracles_by_hand() -> None:
    # ball a: IoU 3/4. ball b: taken for a star, IoU 1. ball c: IoU 1/4, lost in merging. star t: a false positive.
    table = error_breakdown_table(_error_breakdown("aaaabbbccccyyyyy", "aaayssscywwttyyy", {"a": 0.9, "c": 0.7}), TABLE)
    ball, star = table.classes[BALL], table.classes[STAR]
    assert ball.pq == pytest.approx(0.75 / 2.5)  # one match, two missed, one false positive: c has IoU 1/4
    assert ball.pq_loss == pytest.approx(
        {"merging": 0.5 / 2.5, "classification": 0.5 / 2.5, "localization": 0.5 / 2.5, "missed": 0}
        | {"background": 0, "boundary": 0.25 / 2.5, "interior": 0},
        abs=1e-15,
    )
    assert ball.oracle == pytest.approx(
        {"perfect_classes": 1.75 / 3, "perfect_masks": 2 / 2.5, "perfect_merging": 1.6 / 2.5}, abs=1e-15
    )
    assert star.oracle["perfect_classes"] == 0
    assert star.oracle["perfect_merging"] is None, "its false positives were all that it had"


def test_perfect_masks_match_what_is_displaced() -> None:
    table = error_breakdown_table(_error_breakdown("aayyyy", "aaaayy"), TABLE)
    assert table.classes[BALL].oracle["perfect_masks"] == 1
    assert table.classes[SKY].oracle["perfect_masks"] == 1
    assert table.groups["all"].oracle["perfect_masks"] == 1


def test_without_raw_instances_merging_has_no_value() -> None:
    table = error_breakdown_table(_error_breakdown("aaa", "..."), TABLE, with_instances=False)
    for row in (table.classes[BALL], table.groups["all"]):
        assert row.pq_loss["merging"] is None
        assert row.oracle["perfect_merging"] is None
        assert row.pq_loss["missed"] == 1


def _disturbed(ground_truth: TinyImage, rng: np.random.Generator) -> TinyImage:
    """The ground truth moved a little, with noise, wrong classes and some void."""
    ids = np.roll(ground_truth.ids, rng.integers(-2, 3, 2), (0, 1))
    noise = rng.permutation(ids.reshape(-1)).reshape(ids.shape)
    ids = np.where(rng.random(ids.shape) < rng.choice([0.0, 0.1, 0.4]), noise, ids).astype(np.int32)
    segments = tuple(
        SegmentLabel(label.id, label.category_id if rng.random() < 0.7 else int(rng.choice((*THINGS, *STUFF))), False)
        for label in ground_truth.segments
        if np.any(ids == label.id)
    )
    return TinyImage(ground_truth.image_id, ground_truth.image, ids, segments)


def _random_error_breakdown(seed: int, images: int) -> tuple[ErrorBreakdown, Scores]:
    rng = np.random.default_rng(seed)
    total, counter = ErrorBreakdown(), ScoreCounter(TABLE, SETTINGS)
    for number in range(images):
        ground_truth = random_image(rng, number, 16, 20)
        prediction = _disturbed(ground_truth, rng)
        gt, predicted = (SegmentedImage(image.ids, image.segments) for image in (ground_truth, prediction))
        evaluation = evaluate_image(gt, predicted, SETTINGS)
        things = [label.id for label in ground_truth.segments if label.category_id in THINGS and not label.is_crowd]
        ious = {segment_id: float(rng.random()) for segment_id in things if rng.random() < 0.7}
        total += _breakdown(evaluation.overlaps, prediction.segments, evaluation.matching, ious)
        counter.add(count_image(evaluation))
    return total, counter.result()


@pytest.mark.parametrize("seed", range(30))
def test_error_types_add_up_to_the_pq_loss(seed: int) -> None:
    error_breakdown, scores = _random_error_breakdown(seed, images=1 + seed % 5)
    table = error_breakdown_table(error_breakdown, TABLE)
    expected = {key: values["pq"] for key, values in scores.per_class(scores.metrics[0]).items()}
    groups = {name: scores.average("pq", name) for name in ("all", "things", "stuff")}
    for pq, row in [(expected[key], table.classes[key]) for key in expected] + [
        (groups[name], table.groups[name]) for name in groups
    ]:
        losses = [row.pq_loss[error] for error in ERROR_TYPES]
        if pq is None:
            assert row.pq is None
            assert losses == [None] * len(ERROR_TYPES)
        else:
            known = [loss for loss in losses if loss is not None]
            assert row.pq == pytest.approx(pq, abs=1e-12)
            assert sum(known) == pytest.approx(1 - pq, abs=1e-12)
            assert min(known) >= -1e-15


@pytest.mark.parametrize("seed", range(30))
def test_an_oracle_never_lowers_pq(seed: int) -> None:
    table = error_breakdown_table(_random_error_breakdown(100 + seed, images=1 + seed % 5)[0], TABLE)
    for row in (*table.classes.values(), *table.groups.values()):
        for name in ORACLES:
            value = row.oracle[name]
            # None: a class whose false positives were all that it had is gone.
            assert value is None or (row.pq is not None and row.pq - 1e-12 <= value <= 1 + 1e-12), name


def test_images_add_up_in_any_grouping() -> None:
    first, second, third = (_random_error_breakdown(seed, 2)[0] for seed in range(3))
    left, right = (first + second) + third, first + (second + third)
    assert left.classes.keys() == right.classes.keys()
    for key in left.classes:
        assert left.classes[key].present.tp == right.classes[key].present.tp
        assert astuple(left.classes[key].pq_loss) == pytest.approx(astuple(right.classes[key].pq_loss), abs=1e-12)
    assert (first + ErrorBreakdown()).classes == first.classes


def _table() -> BreakdownTable:
    return error_breakdown_table(_error_breakdown("aaaayy", "aaayyy"), TABLE)


def test_json_has_groups_and_classes() -> None:
    document = json.loads(json.dumps(_table().to_json()))
    assert list(document) == ["all", "things", "stuff", "classes"]
    assert document["classes"]["3"]["name"] == "ball"
    assert list(document["all"]["pq_loss"]) == list(ERROR_TYPES)
    assert document["classes"]["7"] == {
        "name": "star",
        "pq": None,
        "pq_loss": dict.fromkeys(ERROR_TYPES),
        "oracle": dict.fromkeys(ORACLES),
    }
    assert document["things"]["pq"] == 0.75


def test_csv_has_a_row_for_each_error_type_and_a_column_for_each_group_and_class() -> None:
    table = _table()
    lost = list(csv.DictReader(table.pq_loss_csv().decode().splitlines()))
    assert [row["error"] for row in lost] == list(ERROR_TYPES)
    assert list(lost[0]) == ["error", "all", "things", "stuff", "ball", "star", "sky", "water"]
    assert sum(float(row["things"]) for row in lost) == pytest.approx(0.25)
    assert {row["star"] for row in lost} == {""}, "no value where nothing occurs"
    oracle = list(csv.DictReader(table.oracle_csv().decode().splitlines()))
    assert [row["oracle"] for row in oracle] == ["no_oracle", *ORACLES]
    assert float(oracle[0]["ball"]) == 0.75


def test_csv_keeps_classes_apart_that_share_a_name() -> None:
    table = _table()
    names = {"ball": "star", "sky": "all"}
    categories = CategoryTable.of(replace(category, name=names.get(category.name, category.name)) for category in TABLE)
    renamed = replace(table, categories=categories).pq_loss_csv().decode()
    columns = "ball,star,sky,water", "star (id 3),star (id 7),all (id 11),water"
    assert renamed == table.pq_loss_csv().decode().replace(*columns)


def _instance(category_id: int, mask: NDArray[np.bool_]) -> tuple[int, Rle]:
    height, width = mask.shape
    return category_id, {"size": [height, width], "counts": str(encode_mask(mask)["counts"])}


def test_candidate_ious_equal_those_counted_pixel_by_pixel() -> None:
    rng = np.random.default_rng(3)
    for number in range(10):
        image = random_image(rng, number)
        masks = [
            (int(rng.choice(THINGS)), np.roll(image.ids == label.id, rng.integers(-3, 4, 2), (0, 1)))
            for label in image.segments
            for _ in range(3)
        ] + [(BALL, np.zeros(image.ids.shape, bool)), (STAR, np.ones(image.ids.shape, bool))]
        found = candidate_ious(image.ids, image.segments, [_instance(*entry) for entry in masks])
        expected = {}
        for label in image.segments:
            gt, clear = image.ids == label.id, image.ids != 0
            ious = [
                np.count_nonzero(gt & mask) / np.count_nonzero(gt | (mask & clear))
                for category_id, mask in masks
                if category_id == label.category_id and not label.is_crowd
            ]
            if max(ious, default=0) > 0:
                expected[label.id] = max(ious)
        assert found == pytest.approx(expected, abs=1e-15)
        assert expected


def test_without_candidates_there_are_no_ious() -> None:
    ids, segments = _read("aayy")
    assert candidate_ious(ids, segments, []) == {}


def test_rle_is_read_whatever_its_run_lengths() -> None:
    rng = np.random.default_rng(5)
    for fraction in (0.0, 0.02, 0.5, 0.98, 1.0):
        mask = rng.random((90, 110)) < fraction
        ids = np.where(mask, 9, 0).astype(np.int32)
        expected = {9: 1.0} if fraction else {}
        assert candidate_ious(ids, [SegmentLabel(9, BALL, False)], [_instance(BALL, mask)]) == expected


def test_a_mask_of_another_size_is_refused() -> None:
    ids, segments = _read("aay/aay")
    with pytest.raises(DatasetError, match=r"3 x 2 \(height x width\), but the image is 2 x 3"):
        candidate_ious(ids, segments, [_instance(BALL, np.ones((3, 2), bool))])


@pytest.mark.parametrize("count", [255, 256, 1000])
def test_any_number_of_instances_of_one_class_is_compared(count: int) -> None:
    ids, segments = _read("aaab/aaab")
    others = [_instance(BALL, np.roll(ids == 0, number, 1)) for number in range(count - 1)]
    found = candidate_ious(ids, segments, [*others, _instance(BALL, ids == ord("a"))])
    assert found == {ord("a"): 1.0}
