"""PQ and boundary PQ against independent computations with sets of pixels and exact fractions, on random pictures."""

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from panoptic.evaluation.overlaps import count_overlaps
from panoptic.evaluation.panoptic_quality import (
    ClassQuality,
    MatchingRules,
    count_by_class,
    match_boundaries,
    match_overlaps,
)
from panoptic.format.segments import AnnotatedSegment, SegmentLabel
from tests.tiny_dataset import TinyPicture, random_picture

Pixels = frozenset[tuple[int, int]]
Counts = dict[int, tuple[int, int, int, Fraction]]


def _pixels(ids: NDArray[np.int32], wanted: int) -> Pixels:
    height, width = ids.shape
    return frozenset((y, x) for y in range(height) for x in range(width) if ids[y, x] == wanted)


def _band(pixels: Pixels, shape: tuple[int, ...], distance: int) -> Pixels:
    """The pixels of a segment whose square window of this reach leaves the segment, or the picture."""
    height, width = shape
    reach = range(-distance, distance + 1)
    return frozenset(
        (y, x)
        for y, x in pixels
        if not all(
            (y + dy, x + dx) in pixels and 0 <= y + dy < height and 0 <= x + dx < width for dy in reach for dx in reach
        )
    )


def _iou(true: Pixels, predicted: Pixels, void: Pixels, area: int | None = None) -> Fraction:
    shared = len(true & predicted)
    return Fraction(shared, (len(true) if area is None else area) + len(predicted - void) - shared)


def _brute_force(truth: TinyPicture, prediction: TinyPicture, distance: int = 0, panopticapi: bool = False) -> Counts:
    """Class by class, comparing every true with every predicted segment as sets of pixels."""
    void = _pixels(truth.ids, 0)
    true_sets = {segment: _pixels(truth.ids, segment.id) for segment in truth.segments}
    predicted_sets = {segment: _pixels(prediction.ids, segment.id) for segment in prediction.segments}
    bands = {
        pixels: _band(pixels, truth.ids.shape, distance) if distance else pixels
        for pixels in (*true_sets.values(), *predicted_sets.values())
    }
    counts: Counts = {}
    for category in {segment.category_id for segment in (*true_sets, *predicted_sets)}:
        regular = {s: pixels for s, pixels in true_sets.items() if s.category_id == category and not s.is_crowd}
        crowds = [pixels for s, pixels in true_sets.items() if s.category_id == category and s.is_crowd]
        unclear = void.union(*(crowds[-1:] if panopticapi else crowds))
        tp, fp, iou_sum = 0, 0, Fraction(0)
        for predicted in (pixels for s, pixels in predicted_sets.items() if s.category_id == category):
            ious = [
                min(
                    _iou(true, predicted, void, s.area if panopticapi and isinstance(s, AnnotatedSegment) else None),
                    _iou(bands[true], bands[predicted], void),
                )
                for s, true in regular.items()
                if true & predicted
            ]
            best = max(ious, default=Fraction(0))
            if best > Fraction(1, 2):
                tp, iou_sum = tp + 1, iou_sum + best
            elif Fraction(len(predicted & unclear), len(predicted)) <= Fraction(1, 2):
                fp += 1
        if tp + fp + len(regular) > 0:
            counts[category] = tp, fp, len(regular) - tp, iou_sum
    return counts


def _counts(
    truth: TinyPicture, prediction: TinyPicture, distance: int = 0, panopticapi: bool = False
) -> dict[int, ClassQuality]:
    """By the project: boundary PQ where there is a distance, else PQ."""
    match = match_boundaries if distance else match_overlaps
    overlaps = count_overlaps(truth.ids, prediction.ids, distance)
    return count_by_class(match(overlaps, truth.segments, prediction.segments, MatchingRules(panopticapi)))


def _check(truth: TinyPicture, prediction: TinyPicture, distance: int = 0, panopticapi: bool = False) -> Counts:
    expected = _brute_force(truth, prediction, distance, panopticapi)
    found = _counts(truth, prediction, distance, panopticapi)
    assert found.keys() == expected.keys()
    for category, (tp, fp, fn, iou_sum) in expected.items():
        assert (found[category].tp, found[category].fp, found[category].fn) == (tp, fp, fn)
        assert found[category].iou_sum == pytest.approx(float(iou_sum), abs=1e-12)
    return expected


def _without_crowd(picture: TinyPicture) -> TinyPicture:
    segments = tuple(SegmentLabel(segment.id, segment.category_id, False) for segment in picture.segments)
    return TinyPicture(picture.image_id, picture.image, picture.ids, segments)


def _disturbed(truth: TinyPicture, rng: np.random.Generator) -> TinyPicture:
    """A prediction like the truth: moved a little, with holes, swapped ids, and some wrong classes."""
    ids = np.roll(truth.ids, rng.choice([0, 0, 0, 1, -2], 2), (0, 1))
    other = rng.permutation(ids.reshape(-1)).reshape(ids.shape)
    ids = np.where(rng.random(ids.shape) < rng.choice([0.0, 0.03, 0.3]), other, ids).astype(np.int32)
    segments = []
    for segment in truth.segments:
        category = segment.category_id if rng.random() < 0.8 else int(rng.choice([3, 7, 11, 20]))
        if np.any(ids == segment.id):
            segments.append(SegmentLabel(segment.id, category, False))
    return TinyPicture(truth.image_id, truth.image, ids, tuple(segments))


def _badly_listed(picture: TinyPicture, rng: np.random.Generator) -> TinyPicture:
    """The same, listed as only panopticapi takes it: wrong areas, a segment left out, one that is not drawn."""
    segments = [
        AnnotatedSegment(s.id, s.category_id, s.is_crowd, int((picture.ids == s.id).sum()) + int(rng.integers(0, 3)))
        for s in picture.segments
    ]
    segments[int(rng.integers(len(segments)))] = AnnotatedSegment(2, 3, bool(rng.integers(2)), 5)
    return TinyPicture(picture.image_id, picture.image, picture.ids, tuple(segments))


@pytest.mark.parametrize("panopticapi", [False, True])
@pytest.mark.parametrize("distance", [0, 1, 3])
def test_disturbed_pictures_are_counted_alike(distance: int, panopticapi: bool) -> None:
    rng = np.random.default_rng(0)
    total = np.zeros(3, np.int64)
    for number in range(120):
        truth = random_picture(rng, number, 16, 20, spots=0.02, side=6)
        prediction = _disturbed(truth, rng)
        counts = _check(_badly_listed(truth, rng) if panopticapi else truth, prediction, distance, panopticapi)
        total += sum((np.array(count[:3]) for count in counts.values()), np.zeros(3, np.int64))
    # The pictures are a test only if they hold enough of every outcome.
    assert total.min() > 50


def test_unrelated_pictures_are_counted_alike() -> None:
    rng = np.random.default_rng(1)
    for number in range(40):
        _check(random_picture(rng, number, 12, 16), _without_crowd(random_picture(rng, number, 12, 16)))


@pytest.mark.parametrize("distance", [0, 2])
def test_ground_truth_against_itself_is_exactly_one(distance: int) -> None:
    rng = np.random.default_rng(2)
    for number in range(20):
        truth = random_picture(rng, number)
        counts = _counts(truth, truth, distance)
        assert all((quality.pq, quality.fp, quality.fn) == (1.0, 0, 0) for quality in counts.values())
        assert sum(quality.tp for quality in counts.values()) == sum(not s.is_crowd for s in truth.segments)


@pytest.mark.parametrize("distance", [0, 2])
def test_new_ids_for_the_same_segments_change_nothing(distance: int) -> None:
    rng = np.random.default_rng(3)
    for number in range(20):
        truth = random_picture(rng, number)
        prediction = _disturbed(truth, rng)
        before = _counts(truth, prediction, distance)
        after = _counts(_renamed(truth, rng), _renamed(prediction, rng), distance)
        assert after.keys() == before.keys()
        for category, quality in before.items():
            assert (after[category].tp, after[category].fp, after[category].fn) == (quality.tp, quality.fp, quality.fn)
            assert after[category].iou_sum == pytest.approx(quality.iou_sum, abs=1e-12)


def _renamed(picture: TinyPicture, rng: np.random.Generator) -> TinyPicture:
    """The same with other ids, listed the other way round."""
    names = dict(zip([s.id for s in picture.segments], (rng.permutation(1 << 16) + 1).tolist(), strict=False))
    ids = np.zeros_like(picture.ids)
    for old, new in names.items():
        ids[picture.ids == old] = new
    segments = tuple(SegmentLabel(names[s.id], s.category_id, s.is_crowd) for s in picture.segments[::-1])
    return TinyPicture(picture.image_id, picture.image, ids, segments)


def test_one_more_right_pixel_never_lowers_the_matches() -> None:
    rng = np.random.default_rng(4)
    turned = 0
    for number in range(30):
        truth = random_picture(rng, number, 12, 16, spots=0.02, side=6)
        prediction = _disturbed(truth, rng)
        predicted = [s.id for s in prediction.segments]
        wrong = np.argwhere((prediction.ids != truth.ids) & np.isin(truth.ids, predicted))
        for y, x in rng.permutation(wrong)[:5]:
            ids = prediction.ids.copy()
            ids[y, x] = truth.ids[y, x]
            drawn = tuple(s for s in prediction.segments if np.any(ids == s.id))
            mended = TinyPicture(number, prediction.image, ids, drawn)
            before, after = (sum(q.tp for q in _counts(truth, p).values()) for p in (prediction, mended))
            assert after >= before
            turned += 1
    assert turned > 50
