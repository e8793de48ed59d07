"""PQ and boundary PQ against independent computations with sets of pixels and exact fractions, on random images."""

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from panoptic.evaluation.overlaps import count_overlaps
from panoptic.evaluation.panoptic_quality import (
    MatchingRules,
    match_boundaries,
    match_overlaps,
)
from panoptic.evaluation.scores import ClassQuality, count_by_class
from panoptic.format.segments import AnnotatedSegment, SegmentLabel
from tests.tiny_dataset import TinyImage, random_image

Pixels = frozenset[tuple[int, int]]
Counts = dict[int, tuple[int, int, int, Fraction]]


def _pixels(ids: NDArray[np.int32], wanted: int) -> Pixels:
    height, width = ids.shape
    return frozenset((y, x) for y in range(height) for x in range(width) if ids[y, x] == wanted)


def _band(pixels: Pixels, shape: tuple[int, ...], distance: int) -> Pixels:
    """The pixels of a segment whose square window of this reach leaves the segment, or the image."""
    height, width = shape
    reach = range(-distance, distance + 1)
    return frozenset(
        (y, x)
        for y, x in pixels
        if not all(
            (y + dy, x + dx) in pixels and 0 <= y + dy < height and 0 <= x + dx < width for dy in reach for dx in reach
        )
    )


def _iou(gt: Pixels, predicted: Pixels, void: Pixels, area: int | None = None) -> Fraction:
    shared = len(gt & predicted)
    return Fraction(shared, (len(gt) if area is None else area) + len(predicted - void) - shared)


def _brute_force(
    ground_truth: TinyImage, prediction: TinyImage, distance: int = 0, panopticapi: bool = False
) -> Counts:
    """Class by class, comparing every true with every predicted segment as sets of pixels."""
    void = _pixels(ground_truth.ids, 0)
    gt_sets = {segment: _pixels(ground_truth.ids, segment.id) for segment in ground_truth.segments}
    predicted_sets = {segment: _pixels(prediction.ids, segment.id) for segment in prediction.segments}
    bands = {
        pixels: _band(pixels, ground_truth.ids.shape, distance) if distance else pixels
        for pixels in (*gt_sets.values(), *predicted_sets.values())
    }
    counts: Counts = {}
    for category in {segment.category_id for segment in (*gt_sets, *predicted_sets)}:
        regular = {s: pixels for s, pixels in gt_sets.items() if s.category_id == category and not s.is_crowd}
        crowds = [pixels for s, pixels in gt_sets.items() if s.category_id == category and s.is_crowd]
        unclear = void.union(*(crowds[-1:] if panopticapi else crowds))
        tp, fp, iou_sum = 0, 0, Fraction(0)
        for predicted in (pixels for s, pixels in predicted_sets.items() if s.category_id == category):
            ious = [
                min(
                    _iou(gt, predicted, void, s.area if panopticapi and isinstance(s, AnnotatedSegment) else None),
                    _iou(bands[gt], bands[predicted], void),
                )
                for s, gt in regular.items()
                if gt & predicted
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
    ground_truth: TinyImage, prediction: TinyImage, distance: int = 0, panopticapi: bool = False
) -> dict[int, ClassQuality]:
    """Count with the project: boundary PQ if there is a distance, otherwise PQ."""
    match = match_boundaries if distance else match_overlaps
    overlaps = count_overlaps(ground_truth.ids, prediction.ids, distance)
    return count_by_class(match(overlaps, ground_truth.segments, prediction.segments, MatchingRules(panopticapi)))


def _check(ground_truth: TinyImage, prediction: TinyImage, distance: int = 0, panopticapi: bool = False) -> Counts:
    expected = _brute_force(ground_truth, prediction, distance, panopticapi)
    found = _counts(ground_truth, prediction, distance, panopticapi)
    assert found.keys() == expected.keys()
    for category, (tp, fp, fn, iou_sum) in expected.items():
        assert (found[category].tp, found[category].fp, found[category].fn) == (tp, fp, fn)
        assert found[category].iou_sum == pytest.approx(float(iou_sum), abs=1e-12)
    return expected


def _without_crowd(image: TinyImage) -> TinyImage:
    segments = tuple(SegmentLabel(segment.id, segment.category_id, False) for segment in image.segments)
    return TinyImage(image.image_id, image.image, image.ids, segments)


def _disturbed(ground_truth: TinyImage, rng: np.random.Generator) -> TinyImage:
    """A prediction like the ground truth, moved a little, with holes, swapped ids and some wrong classes."""
    ids = np.roll(ground_truth.ids, rng.choice([0, 0, 0, 1, -2], 2), (0, 1))
    other = rng.permutation(ids.reshape(-1)).reshape(ids.shape)
    ids = np.where(rng.random(ids.shape) < rng.choice([0.0, 0.03, 0.3]), other, ids).astype(np.int32)
    segments = []
    for segment in ground_truth.segments:
        category = segment.category_id if rng.random() < 0.8 else int(rng.choice([3, 7, 11, 20]))
        if np.any(ids == segment.id):
            segments.append(SegmentLabel(segment.id, category, False))
    return TinyImage(ground_truth.image_id, ground_truth.image, ids, tuple(segments))


def _badly_listed(image: TinyImage, rng: np.random.Generator) -> TinyImage:
    """The same, listed as only panopticapi takes it: wrong areas, a segment left out, one that is not drawn."""
    segments = [
        AnnotatedSegment(s.id, s.category_id, s.is_crowd, int((image.ids == s.id).sum()) + int(rng.integers(0, 3)))
        for s in image.segments
    ]
    segments[int(rng.integers(len(segments)))] = AnnotatedSegment(2, 3, bool(rng.integers(2)), 5)
    return TinyImage(image.image_id, image.image, image.ids, tuple(segments))


@pytest.mark.parametrize("panopticapi", [False, True])
@pytest.mark.parametrize("distance", [0, 1, 3])
def test_disturbed_images_are_counted_as_by_brute_force(distance: int, panopticapi: bool) -> None:
    rng = np.random.default_rng(0)
    total = np.zeros(3, np.int64)
    for number in range(120):
        ground_truth = random_image(rng, number, 16, 20, spots=0.02, side=6)
        prediction = _disturbed(ground_truth, rng)
        counts = _check(
            _badly_listed(ground_truth, rng) if panopticapi else ground_truth, prediction, distance, panopticapi
        )
        total += sum((np.array(count[:3]) for count in counts.values()), np.zeros(3, np.int64))
    # The images are a test only if they hold enough of every outcome.
    assert total.min() > 50


def test_unrelated_images_are_counted_as_by_brute_force() -> None:
    rng = np.random.default_rng(1)
    for number in range(40):
        _check(random_image(rng, number, 12, 16), _without_crowd(random_image(rng, number, 12, 16)))


@pytest.mark.parametrize("distance", [0, 2])
def test_ground_truth_against_itself_is_exactly_one(distance: int) -> None:
    rng = np.random.default_rng(2)
    for number in range(20):
        ground_truth = random_image(rng, number)
        counts = _counts(ground_truth, ground_truth, distance)
        assert all((quality.pq, quality.fp, quality.fn) == (1.0, 0, 0) for quality in counts.values())
        assert sum(quality.tp for quality in counts.values()) == sum(not s.is_crowd for s in ground_truth.segments)


@pytest.mark.parametrize("distance", [0, 2])
def test_new_ids_for_the_same_segments_change_nothing(distance: int) -> None:
    rng = np.random.default_rng(3)
    for number in range(20):
        ground_truth = random_image(rng, number)
        prediction = _disturbed(ground_truth, rng)
        before = _counts(ground_truth, prediction, distance)
        after = _counts(_renamed(ground_truth, rng), _renamed(prediction, rng), distance)
        assert after.keys() == before.keys()
        for category, quality in before.items():
            assert (after[category].tp, after[category].fp, after[category].fn) == (quality.tp, quality.fp, quality.fn)
            assert after[category].iou_sum == pytest.approx(quality.iou_sum, abs=1e-12)


def _renamed(image: TinyImage, rng: np.random.Generator) -> TinyImage:
    """The same image with other ids, listed in reverse order."""
    names = dict(zip([s.id for s in image.segments], (rng.permutation(1 << 16) + 1).tolist(), strict=False))
    ids = np.zeros_like(image.ids)
    for old, new in names.items():
        ids[image.ids == old] = new
    segments = tuple(SegmentLabel(names[s.id], s.category_id, s.is_crowd) for s in image.segments[::-1])
    return TinyImage(image.image_id, image.image, ids, segments)


def test_one_more_right_pixel_never_lowers_the_matches() -> None:
    rng = np.random.default_rng(4)
    turned = 0
    for number in range(30):
        ground_truth = random_image(rng, number, 12, 16, spots=0.02, side=6)
        prediction = _disturbed(ground_truth, rng)
        predicted = [s.id for s in prediction.segments]
        wrong = np.argwhere((prediction.ids != ground_truth.ids) & np.isin(ground_truth.ids, predicted))
        for y, x in rng.permutation(wrong)[:5]:
            ids = prediction.ids.copy()
            ids[y, x] = ground_truth.ids[y, x]
            drawn = tuple(s for s in prediction.segments if np.any(ids == s.id))
            mended = TinyImage(number, prediction.image, ids, drawn)
            before, after = (sum(q.tp for q in _counts(ground_truth, p).values()) for p in (prediction, mended))
            assert after >= before
            turned += 1
    assert turned > 50
