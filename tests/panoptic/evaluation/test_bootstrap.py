"""Intervals against a plain loop over drawn images, and what may not change them."""

import numpy as np
import pytest

from panoptic.evaluation.bootstrap import bootstrap_intervals
from panoptic.evaluation.scores import ImageScore, ScoreCounter, ScoringSettings, score_image
from panoptic.format.categories import CategoryTable
from panoptic.format.segments import SegmentLabel
from tests.tiny_dataset import CATEGORIES, random_image

TABLE = CategoryTable.from_json(CATEGORIES)
SETTINGS = ScoringSettings()


def _scores(seed: int, count: int) -> list[ImageScore]:
    rng = np.random.default_rng(seed)
    scores = []
    for number in range(count):
        ground_truth = random_image(rng, number, 16, 20, spots=0.02, side=6)
        ids = np.roll(ground_truth.ids, int(rng.integers(-2, 3)), 1)
        # Balls are never found, and so have an SQ of 0.
        segments = [
            SegmentLabel(s.id, 7 if s.category_id == 3 else s.category_id, False) for s in ground_truth.segments
        ]
        scores.append(score_image(ground_truth.ids, ground_truth.segments, ids, segments, SETTINGS))
    return scores


def test_intervals_are_those_of_a_plain_loop() -> None:
    scores = _scores(0, 12)
    found = bootstrap_intervals(scores, TABLE, draws=120, seed=3)
    rng = np.random.default_rng(3)
    drawn = []
    for _ in range(120):
        counter = ScoreCounter(TABLE, SETTINGS)
        for position in rng.integers(12, size=12).tolist():
            counter.add(scores[position])
        drawn.append(counter.result())
    for name, values in {
        ("pq", "all"): [result.quality.all.pq for result in drawn],
        ("sq", "things"): [result.quality.things.sq for result in drawn],
        ("boundary_pq", "stuff"): [b.stuff.pq for result in drawn if (b := result.boundary_quality)],
        ("miou", "all"): [result.miou for result in drawn],
    }.items():
        limits = found[name[0]][name[1]]
        assert limits is not None
        expected = np.quantile(np.array(values, np.float64), [0.025, 0.975])
        assert (limits.low, limits.high) == pytest.approx(expected.tolist(), abs=1e-12)
        assert limits.low < limits.high


def test_equal_seeds_give_equal_intervals_and_others_other() -> None:
    scores = _scores(1, 8)
    assert bootstrap_intervals(scores, TABLE, 60, seed=1) == bootstrap_intervals(scores, TABLE, 60, seed=1)
    assert bootstrap_intervals(scores, TABLE, 60, seed=1) != bootstrap_intervals(scores, TABLE, 60, seed=2)


def test_more_images_give_narrower_intervals() -> None:
    few, many = (bootstrap_intervals(_scores(2, count), TABLE, 200)["pq"]["all"] for count in (6, 96))
    assert few is not None
    assert many is not None
    assert many.high - many.low < (few.high - few.low) / 2


def test_a_group_that_never_occurs_has_none() -> None:
    sky_only = [SegmentLabel(5, 11, False)]
    ids = np.full((4, 4), 5, np.int32)
    score = score_image(ids, sky_only, ids, sky_only, SETTINGS)
    found = bootstrap_intervals([score], TABLE, 10, boundaries=False)
    assert found["pq"]["things"] is None
    assert found["pq"]["stuff"] is not None
    assert "boundary_pq" not in found
