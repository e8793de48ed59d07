"""How many seeds and images a comparison of networks needs to find a difference of a given size.

The variances are those that `NetworkDifference` has estimated, so they are themselves uncertain, with three seeds by a
factor of several: read the numbers as orders of magnitude. The power is that of Student's test (the noncentral
distribution; Cohen, Statistical Power Analysis, 1988).
"""

import math
from bisect import bisect_left
from collections.abc import Callable

from scipy import stats

from panoptic.evaluation.network_difference import FEWEST_SEEDS, NetworkDifference, Uncertainty, Variance

POWER = 0.8
MOST_SEEDS = 1_000
MOST_IMAGES = 1_000_000


def expected_uncertainty(difference: NetworkDifference, seeds: int, images: int) -> Uncertainty:
    """Predict the uncertainty of the difference with other numbers of seeds, of each network, and of images."""
    fewer = difference.images / images
    parts = [part.total - part.with_images + part.with_images * fewer for part in difference.trainings]
    return Uncertainty(
        Variance.sum([Variance(part / seeds, seeds - 1) for part in parts]),
        Variance(difference.image_variance * fewer, images - 1),
    )


def power(difference: NetworkDifference, effect: float, seeds: int, images: int, level: float) -> float:
    """Return the probability that a true difference of `effect` is found at an error rate of `level`."""
    expected = expected_uncertainty(difference, seeds, images)
    error = math.sqrt(expected.total.value)
    if not error:
        return 1.0
    return float(stats.nct.sf(expected.limit(level / 2) / error, expected.total.freedom, effect / error))


def seeds_needed(difference: NetworkDifference, effect: float, level: float) -> int | None:
    """Return how many seeds of each network find `effect` on the same images; None if `MOST_SEEDS` do not."""
    return _fewest(FEWEST_SEEDS, MOST_SEEDS, lambda seeds: power(difference, effect, seeds, difference.images, level))


def images_needed(difference: NetworkDifference, effect: float, seeds: int, level: float) -> int | None:
    """Return how many images find `effect` with `seeds` of each network; None if `MOST_IMAGES` do not."""
    return _fewest(2, MOST_IMAGES, lambda images: power(difference, effect, seeds, images, level))


def _fewest(fewest: int, most: int, power_with: Callable[[int], float]) -> int | None:
    numbers = range(fewest, most + 1)
    index = bisect_left(numbers, POWER, key=power_with)
    return numbers[index] if index < len(numbers) else None
