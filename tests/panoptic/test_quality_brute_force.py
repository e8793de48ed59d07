"""PQ and boundary PQ against independent computations with sets of pixels and exact fractions, on random pictures."""

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from panoptic.overlaps import count_overlaps
from panoptic.quality import count_by_class, match_boundaries, match_overlaps, match_segments
from panoptic.segments import AnnotatedSegment, SegmentLabel
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


def _check(truth: TinyPicture, prediction: TinyPicture, distance: int = 0, panopticapi: bool = False) -> Counts:
    expected = _brute_force(truth, prediction, distance, panopticapi)
    overlaps = count_overlaps(truth.ids, prediction.ids, distance)
    match = match_boundaries if distance else match_overlaps
    found = count_by_class(match(overlaps, truth.segments, prediction.segments, panopticapi))
    assert found.keys() == expected.keys()
    for category, (tp, fp, fn, iou_sum) in expected.items():
        assert (found[category].tp, found[category].fp, found[category].fn) == (tp, fp, fn)
        assert found[category].iou_sum == pytest.approx(float(iou_sum), abs=1e-12)
    return expected


@pytest.mark.parametrize("panopticapi", [False, True])
@pytest.mark.parametrize("distance", [0, 1, 3])
def test_disturbed_pictures_are_counted_alike(distance: int, panopticapi: bool) -> None:
    rng = np.random.default_rng(0)
    total = np.zeros(3, np.int64)
    for number in range(120):
        truth = _with_areas(random_picture(rng, number, 16, 20, spots=0.02, side=6), rng)
        counts = _check(truth, _disturbed(truth, rng), distance, panopticapi)
        total += sum((np.array(count[:3]) for count in counts.values()), np.zeros(3, np.int64))
    # The pictures are a test only if they hold enough of every outcome.
    assert total.min() > 50


def _with_areas(picture: TinyPicture, rng: np.random.Generator) -> TinyPicture:
    """The same with areas in the list, some of them wrong."""
    segments = tuple(
        AnnotatedSegment(s.id, s.category_id, s.is_crowd, int((picture.ids == s.id).sum()) + int(rng.integers(0, 3)))
        for s in picture.segments
    )
    return TinyPicture(picture.image_id, picture.image, picture.ids, segments)


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


def test_one_more_right_pixel_never_lowers_the_matches() -> None:
    rng = np.random.default_rng(4)
    for number in range(30):
        truth = random_picture(rng, number, 12, 16, spots=0.02, side=6)
        prediction = _disturbed(truth, rng)
        same_class = {s.id for s in prediction.segments} & {s.id for s in truth.segments}
        wrong = np.argwhere((prediction.ids != truth.ids) & np.isin(truth.ids, list(same_class)))
        if not len(wrong):
            continue
        y, x = wrong[rng.integers(len(wrong))]
        ids = prediction.ids.copy()
        ids[y, x] = truth.ids[y, x]
        drawn = [s for s in prediction.segments if np.any(ids == s.id)]
        before, after = (
            len(match_segments(truth.ids, truth.segments, predicted, segments).matches)
            for predicted, segments in ((prediction.ids, prediction.segments), (ids, drawn))
        )
        assert after >= before
