"""Seeds and images that a difference needs, against a textbook's table and by drawing."""

import math

import pytest

from panoptic.evaluation.network_difference import NetworkDifference, SeedVariance
from panoptic.evaluation.power import MOST_IMAGES, expected_uncertainty, images_needed, power, seeds_needed


def difference(seed: float, with_images: float, image: float, images: int = 150) -> NetworkDifference:
    """A difference between two networks with equal variances."""
    return NetworkDifference(0.0, (SeedVariance(3, seed, with_images),) * 2, image, images)


def test_seeds_are_those_of_cohens_table() -> None:
    # Two independent groups, level 0.05, power 0.8 (Cohen, 1988, table 2.4.1): effects in standard deviations.
    assert [seeds_needed(difference(1.0, 0.0, 0.0), effect, 0.05) for effect in (0.5, 0.8, 1.0)] == [64, 26, 17]


def test_more_images_reduce_their_part_alone() -> None:
    found = difference(seed=1.0, with_images=0.6, image=0.2)
    now, twice = (expected_uncertainty(found, 3, images).total.value for images in (150, 300))
    assert now == pytest.approx(2 * 1.0 / 3 + 0.2)
    assert twice == pytest.approx(2 * (0.4 + 0.3) / 3 + 0.1)


def test_no_number_of_images_makes_up_for_missing_seeds() -> None:
    found = difference(seed=1.0, with_images=0.1, image=0.2)
    assert images_needed(found, 1.0, seeds=3, level=0.05) is None
    enough = images_needed(found, 1.0, seeds=20, level=0.05)
    assert enough is not None
    assert power(found, 1.0, 20, enough, 0.05) >= 0.8 > power(found, 1.0, 20, enough - 1, 0.05)
    assert enough < MOST_IMAGES


def test_no_number_of_seeds_makes_up_for_missing_images() -> None:
    assert seeds_needed(difference(seed=1.0, with_images=0.0, image=0.5), 1.0, 0.05) is None


def test_results_that_never_vary_need_nothing() -> None:
    assert seeds_needed(difference(0.0, 0.0, 0.0), 1.0, 0.05) == 2
    assert math.isclose(power(difference(0.0, 0.0, 0.0), 1.0, 2, 2, 0.05), 1.0)
