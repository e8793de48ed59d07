"""Intervals against a plain loop over drawn images, and what may not change them."""

import numpy as np
import pytest

from panoptic.evaluation.bootstrap import Interval, bootstrap_intervals, paired_intervals, resampled_averages
from panoptic.evaluation.image import ScoringSettings, SegmentedImage, evaluate_image
from panoptic.evaluation.scores import METRICS, ImageCounts, ScoreCounter, chosen_metrics, count_image
from panoptic.format.categories import CategoryTable
from panoptic.format.segments import SegmentLabel
from tests.tiny_dataset import CATEGORIES, random_image

TABLE = CategoryTable.from_json(CATEGORIES)
SETTINGS = ScoringSettings()


def _count(ground_truth: SegmentedImage, prediction: SegmentedImage) -> ImageCounts:
    return count_image(evaluate_image(ground_truth, prediction, SETTINGS))


def _images(seed: int, count: int) -> list[ImageCounts]:
    rng = np.random.default_rng(seed)
    images = []
    for number in range(count):
        ground_truth = random_image(rng, number, 16, 20, spots=0.02, side=6)
        ids = np.roll(ground_truth.ids, int(rng.integers(-2, 3)), 1)
        # Balls are never found, and so have an SQ of 0.
        segments = [
            SegmentLabel(s.id, 7 if s.category_id == 3 else s.category_id, False) for s in ground_truth.segments
        ]
        images.append(_count(SegmentedImage(ground_truth.ids, ground_truth.segments), SegmentedImage(ids, segments)))
    return images


def test_intervals_equal_those_of_a_plain_loop() -> None:
    images = _images(0, 12)
    found = bootstrap_intervals(images, METRICS, TABLE, resamples=120, seed=3)
    rng = np.random.default_rng(3)
    drawn = []
    for _ in range(120):
        counter = ScoreCounter(TABLE, SETTINGS)
        for position in rng.integers(12, size=12).tolist():
            counter.add(images[position])
        drawn.append(counter.result())
    for name, group in (("pq", "all"), ("sq", "things"), ("boundary_pq", "stuff"), ("miou", "all")):
        values = [result.average(name, group) for result in drawn]
        limits = found[name][group]
        assert limits is not None
        expected = np.quantile(np.array(values, np.float64), [0.025, 0.975])
        assert (limits.low, limits.high) == pytest.approx(expected.tolist(), abs=1e-12)
        assert limits.low < limits.high


def test_averages_of_all_resamples_are_those_that_intervals_are_made_of() -> None:
    images = _images(0, 12)
    values = resampled_averages(images, METRICS[0], TABLE, resamples=120, seed=3)
    limits = bootstrap_intervals(images, METRICS, TABLE, resamples=120, seed=3)["pq"]["all"]
    assert values.shape == (120,)
    assert limits is not None
    assert (limits.low, limits.high) == pytest.approx(np.quantile(values, [0.025, 0.975]).tolist(), abs=1e-12)


def test_intervals_depend_on_the_seed_alone() -> None:
    images = _images(1, 8)
    first, same, other = (bootstrap_intervals(images, METRICS, TABLE, 60, seed) for seed in (1, 1, 2))
    assert first == same
    assert first != other


def test_more_images_give_narrower_intervals() -> None:
    few, many = (bootstrap_intervals(_images(2, count), METRICS, TABLE, 200)["pq"]["all"] for count in (6, 96))
    assert few is not None
    assert many is not None
    assert many.high - many.low < (few.high - few.low) / 2


def test_a_group_that_never_occurs_has_none() -> None:
    sky_only = [SegmentLabel(5, 11, False)]
    ids = np.full((4, 4), 5, np.int32)
    image = _count(SegmentedImage(ids, sky_only), SegmentedImage(ids, sky_only))
    found = bootstrap_intervals([image], chosen_metrics(ScoringSettings(boundary_ratio=0)), TABLE, 10)
    assert found["pq"]["things"] is None
    assert found["pq"]["stuff"] is not None
    assert "boundary_pq" not in found


def test_paired_intervals_equal_those_of_a_plain_loop() -> None:
    first, second = (_images(seed, 12) for seed in (0, 1))
    found = paired_intervals(first, second, METRICS, TABLE, resamples=120, seed=3)
    rng = np.random.default_rng(3)
    averages: tuple[list[float | None], ...] = ([], [])
    classes: tuple[list[float | None], ...] = ([], [])
    for _ in range(120):
        drawn = rng.integers(12, size=12).tolist()
        for number, images in enumerate((first, second)):
            counter = ScoreCounter(TABLE, SETTINGS)
            for position in drawn:
                counter.add(images[position])
            averages[number].append(counter.result().average("sq", "things"))
            classes[number].append(counter.result().per_class(METRICS[0])[11]["pq"])
    for limits, values in ((found.groups["sq"]["things"], averages), (found.classes["pq"][11], classes)):
        assert limits is not None
        before, after = np.array(values, np.float64)
        expected = np.quantile(after - before, [0.025, 0.975])
        assert (limits.low, limits.high) == pytest.approx(expected.tolist(), abs=1e-12)
        assert limits.low < limits.high


def test_equal_results_differ_by_nothing_and_exchanged_ones_by_the_opposite() -> None:
    first, second = (_images(seed, 8) for seed in (0, 1))
    same = paired_intervals(first, first, METRICS, TABLE, 50)
    assert {limits for groups in same.groups.values() for limits in groups.values()} == {Interval(0, 0)}
    forth, back = (paired_intervals(*pair, METRICS, TABLE, 50) for pair in ((first, second), (second, first)))
    for name, groups in forth.groups.items():
        for group, limits in groups.items():
            opposite = back.groups[name][group]
            assert limits is not None
            assert opposite is not None
            assert (limits.low, limits.high) == pytest.approx((-opposite.high, -opposite.low))


def test_an_interval_excludes_zero_on_either_side() -> None:
    limits = (Interval(0.1, 0.2), Interval(-0.2, -0.1), Interval(-0.1, 0.1), Interval(0, 0.1), Interval(0, 0))
    assert [interval.excludes_zero for interval in limits] == [True, True, False, False, False]
