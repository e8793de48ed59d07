"""PQ counts against an independent computation with sets of pixels and exact fractions, on random pictures."""

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from panoptic.quality import count_by_class, match_segments
from panoptic.segments import SegmentLabel
from tests.tiny_dataset import TinyPicture, random_picture

Pixels = frozenset[tuple[int, int]]
Counts = dict[int, tuple[int, int, int, Fraction]]


def _pixels(ids: NDArray[np.int32], wanted: int) -> Pixels:
    height, width = ids.shape
    return frozenset((y, x) for y in range(height) for x in range(width) if ids[y, x] == wanted)


def _brute_force(truth: TinyPicture, prediction: TinyPicture) -> Counts:
    """Class by class, comparing every true with every predicted segment as sets of pixels."""
    void = _pixels(truth.ids, 0)
    true_sets = {segment: _pixels(truth.ids, segment.id) for segment in truth.segments}
    predicted_sets = {segment: _pixels(prediction.ids, segment.id) for segment in prediction.segments}
    counts: Counts = {}
    for category in {segment.category_id for segment in (*true_sets, *predicted_sets)}:
        regular = [pixels for s, pixels in true_sets.items() if s.category_id == category and not s.is_crowd]
        crowds = [pixels for s, pixels in true_sets.items() if s.category_id == category and s.is_crowd]
        unclear = void.union(*crowds)
        tp, fp, iou_sum = 0, 0, Fraction(0)
        for predicted in (pixels for s, pixels in predicted_sets.items() if s.category_id == category):
            ious = [Fraction(len(true & predicted), len(true | (predicted - void))) for true in regular]
            best = max(ious, default=Fraction(0))
            if best > Fraction(1, 2):
                tp, iou_sum = tp + 1, iou_sum + best
            elif Fraction(len(predicted & unclear), len(predicted)) <= Fraction(1, 2):
                fp += 1
        if tp + fp + len(regular) > 0:
            counts[category] = tp, fp, len(regular) - tp, iou_sum
    return counts


def _without_crowd(picture: TinyPicture) -> TinyPicture:
    segments = tuple(SegmentLabel(segment.id, segment.category_id, False) for segment in picture.segments)
    return TinyPicture(picture.image_id, picture.image, picture.ids, segments)


def _disturbed(truth: TinyPicture, rng: np.random.Generator) -> TinyPicture:
    """A prediction like the truth: moved a little, with holes, swapped ids, and some wrong classes."""
    ids = np.roll(truth.ids, rng.integers(-2, 3, 2), (0, 1))
    other = rng.permutation(ids.reshape(-1)).reshape(ids.shape)
    ids = np.where(rng.random(ids.shape) < rng.choice([0.0, 0.1, 0.3]), other, ids).astype(np.int32)
    segments = []
    for segment in truth.segments:
        category = segment.category_id if rng.random() < 0.8 else int(rng.choice([3, 7, 11, 20]))
        if np.any(ids == segment.id):
            segments.append(SegmentLabel(segment.id, category, False))
    return TinyPicture(truth.image_id, truth.image, ids, tuple(segments))


def _check(truth: TinyPicture, prediction: TinyPicture) -> Counts:
    expected = _brute_force(truth, prediction)
    found = count_by_class(match_segments(truth.ids, truth.segments, prediction.ids, prediction.segments))
    assert found.keys() == expected.keys()
    for category, (tp, fp, fn, iou_sum) in expected.items():
        assert (found[category].tp, found[category].fp, found[category].fn) == (tp, fp, fn)
        assert found[category].iou_sum == pytest.approx(float(iou_sum), abs=1e-12)
    return expected


def test_disturbed_pictures_are_counted_alike() -> None:
    rng = np.random.default_rng(0)
    total = np.zeros(3, np.int64)
    for number in range(120):
        truth = random_picture(rng, number, 16, 20)
        counts = _check(truth, _disturbed(truth, rng))
        total += sum((np.array(count[:3]) for count in counts.values()), np.zeros(3, np.int64))
    # The pictures are a test only if they hold enough of every outcome.
    assert total.min() > 50


def test_unrelated_pictures_are_counted_alike() -> None:
    rng = np.random.default_rng(1)
    for number in range(40):
        _check(random_picture(rng, number, 12, 16), _without_crowd(random_picture(rng, number, 12, 16)))


def test_ground_truth_against_itself_is_exactly_one() -> None:
    rng = np.random.default_rng(2)
    for number in range(20):
        truth = random_picture(rng, number)
        counts = count_by_class(match_segments(truth.ids, truth.segments, truth.ids, truth.segments))
        assert all((quality.pq, quality.fp, quality.fn) == (1.0, 0, 0) for quality in counts.values())


def test_new_ids_for_the_same_segments_change_nothing() -> None:
    rng = np.random.default_rng(3)
    for number in range(20):
        truth = random_picture(rng, number)
        prediction = _disturbed(truth, rng)
        names = dict(zip([s.id for s in prediction.segments], rng.permutation(1 << 16)[:9].tolist(), strict=False))
        ids = np.vectorize(lambda old, names=names: names[old] + 1 if old else 0)(prediction.ids).astype(np.int32)
        renamed = [SegmentLabel(names[s.id] + 1, s.category_id, False) for s in prediction.segments]
        before = count_by_class(match_segments(truth.ids, truth.segments, prediction.ids, prediction.segments))
        after = count_by_class(match_segments(truth.ids, truth.segments, ids, renamed[::-1]))
        assert after.keys() == before.keys()
        for category, quality in before.items():
            assert (after[category].tp, after[category].fp, after[category].fn) == (quality.tp, quality.fp, quality.fn)
            assert after[category].iou_sum == pytest.approx(quality.iou_sum, abs=1e-12)
