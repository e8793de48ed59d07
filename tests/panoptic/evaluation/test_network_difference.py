"""Differences between networks against textbook tests, and their variances taken apart."""

import numpy as np
import pytest
from scipy import stats

from panoptic.evaluation.network_difference import (
    NetworkDifference,
    SeedScores,
    SeedVariance,
    Uncertainty,
    Variance,
    holm,
)
from panoptic.evaluation.scores import Array

FIRST, SECOND = np.array([67.1, 67.3, 69.1]), np.array([65.6, 67.2, 66.6])
LARGE_SAMPLE = 100_000  # images, so that the degrees of freedom of their variance do not count


def scores(values: Array, shared: float = 0.0, own: float = 0.0) -> SeedScores:
    """Scores whose resamples have exactly the standard deviations given: common to all seeds, and of each alone."""
    rng = np.random.default_rng(0)
    drawn = np.column_stack([np.ones(401), rng.standard_normal((401, len(values) + 1))])
    columns = 20 * np.linalg.qr(drawn)[0][:, 1:]  # of mean 0 and variance 1, and uncorrelated
    return SeedScores(values, values + shared * columns[:, :1] + own * columns[:, 1:])


def between(first: SeedScores, second: SeedScores, same_weights: bool = False) -> NetworkDifference:
    return NetworkDifference.between(first, second, LARGE_SAMPLE, same_weights)


def limits_of(found: NetworkDifference, level: float = 0.95) -> tuple[float, float]:
    interval = found.interval(level)
    return interval.low, interval.high


def test_without_an_image_variance_it_is_welchs_test() -> None:
    found = between(scores(FIRST), scores(SECOND))
    expected = stats.ttest_ind(SECOND, FIRST, equal_var=False)
    assert found.value == pytest.approx(SECOND.mean() - FIRST.mean())
    assert found.p_value == pytest.approx(expected.pvalue)
    limits = expected.confidence_interval(0.9)
    assert limits_of(found, 0.9) == pytest.approx((limits.low, limits.high))


def test_results_of_the_same_weights_are_paired() -> None:
    expected = stats.ttest_rel(SECOND, FIRST)
    limits = expected.confidence_interval(0.95)
    found = between(scores(FIRST), scores(SECOND), same_weights=True)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert limits_of(found) == pytest.approx((limits.low, limits.high))


def test_variances_are_taken_apart() -> None:
    part = scores(FIRST, shared=0.5, own=0.8)
    assert part.shared_variance == pytest.approx(0.25)
    variance = SeedVariance.of(part)
    assert (variance.seeds, variance.total, variance.with_images) == pytest.approx((3, FIRST.var(ddof=1), 0.64))
    # Of one network alone: the other does not depend on the images, or depends on them in the same way.
    assert between(part, scores(SECOND)).image_variance == pytest.approx(0.25)
    assert between(part, scores(SECOND, shared=0.5)).image_variance == pytest.approx(0, abs=1e-12)
    assert between(part, scores(SECOND, shared=-0.5)).image_variance == pytest.approx(1.0)


def test_images_have_a_critical_value_of_their_own() -> None:
    found = between(scores(FIRST, shared=0.5), scores(SECOND))
    welch = stats.ttest_ind(SECOND, FIRST, equal_var=False)
    seeds, images = (FIRST.var(ddof=1) + SECOND.var(ddof=1)) / 3, 0.25
    critical = (seeds * stats.t.isf(0.025, welch.df) + images * stats.norm.isf(0.025)) / (seeds + images)
    width = critical * (seeds + images) ** 0.5
    assert limits_of(found) == pytest.approx((found.value - width, found.value + width), rel=1e-4)


@pytest.mark.parametrize("tail", [0.4, 0.025, 1e-12])
def test_probabilities_are_those_of_the_limits(tail: float) -> None:
    found = Uncertainty(Variance(0.4, 3.2), Variance(0.2, 149))
    assert found.tail(found.limit(tail)) == pytest.approx(tail)
    assert found.tail(-found.limit(tail)) == pytest.approx(1 - tail)
    assert found.tail(1e300) == 0


def test_equal_results_do_not_differ() -> None:
    found = between(scores(FIRST, 0.5, 0.8), scores(FIRST, 0.5, 0.8), same_weights=True)
    assert limits_of(found) == (0, 0)
    assert found.p_value == 1
    assert found.p_close(1.0) == 0


def test_close_is_the_larger_of_two_one_sided_tests() -> None:
    found = between(scores(FIRST), scores(SECOND), same_weights=True)
    differences = SECOND - FIRST
    low = stats.ttest_1samp(differences, -3.0, alternative="greater").pvalue
    high = stats.ttest_1samp(differences, 3.0, alternative="less").pvalue
    assert found.p_close(3.0) == pytest.approx(max(low, high))
    assert found.p_close(0.5) > 0.5


def test_variances_add_up() -> None:
    found = Variance.sum([Variance(2.0, 3), Variance(0.0, 9)])
    assert (found.value, found.freedom) == pytest.approx((2.0, 3))
    found = Variance.sum([Variance(2.0, 3), Variance(2.0, 3)])
    assert (found.value, found.freedom) == pytest.approx((4.0, 6))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([]) == []
