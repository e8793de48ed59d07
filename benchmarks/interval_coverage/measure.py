"""Count how often intervals contain a known difference of random networks, and how often equal ones seem to differ."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from benchmarks.interval_coverage.population import Population
from panoptic.evaluation.bootstrap import Interval
from panoptic.evaluation.network_difference import NetworkDifference, SeedScores
from panoptic.evaluation.scores import Array
from panoptic.evaluation.sequential import decide

LOOKS = (3, 4, 5)
"""Seeds at the looks of the sequential comparison."""
EQUAL_NETWORKS = 8
MARGIN = 1.0
Pair = tuple[SeedScores, SeedScores]


@dataclass(frozen=True)
class Coverage:
    """Fractions of the draws in which the interval of each method contains the known difference, by name.

    Attributes:
        spread: square root of the variance of a single pair of trainings, over the seeds.
        image_error: square root of the variance of the images, whatever the number of seeds.
        width: median width of the first method's interval.
    """

    scenario: str
    seeds: int
    images: int
    difference: float
    contained: Mapping[str, float]
    spread: float
    image_error: float
    width: float


@dataclass(frozen=True)
class WrongCalls:
    """Fraction of the draws in which any of the equal networks is called different from the first, at any look."""

    images: int
    fraction: float


def measure_coverage(scenario: str, population: Population, seeds: int, images: int, draws: int) -> Coverage:
    """Draw networks and images, and look whether the intervals contain the known difference."""
    rng = np.random.default_rng(0)
    difference, found = population.known_difference, list[NetworkDifference]()
    contained = dict.fromkeys(METHODS, 0)
    for _ in range(draws):
        first, second = population.draw(rng, seeds, images)
        found.append(NetworkDifference.between(first, second, images, population.same_weights))
        for name, method in METHODS.items():
            interval = method(found[-1], (first, second), rng)
            contained[name] += interval.low <= difference <= interval.high
    intervals = [one.interval() for one in found]
    return Coverage(
        scenario,
        seeds,
        images,
        difference,
        {name: count / draws for name, count in contained.items()},
        float(np.sqrt(np.mean([sum(part.total for part in one.trainings) for one in found]))),
        float(np.sqrt(np.mean([one.image_variance for one in found]))),
        float(np.median([interval.high - interval.low for interval in intervals])),
    )


def measure_wrong_calls(population: Population, images: int, draws: int) -> WrongCalls:
    """Compare all networks with the first, which equals them, after each of the looks."""
    rng, wrong, others = np.random.default_rng(0), 0, range(1, len(population.gains))
    for _ in range(draws):
        results = population.draw(rng, LOOKS[-1], images)
        looks = []
        for seeds in LOOKS:
            first, *seen = (SeedScores(one.values[:seeds], one.resampled[:, :seeds]) for one in results)
            looks.append(
                {key: NetworkDifference.between(first, seen[key - 1], images, same_weights=False) for key in others}
            )
        wrong += any(one.is_different for one in decide(looks, others, len(looks), MARGIN).values())
    return WrongCalls(images, wrong / draws)


def _student(difference: NetworkDifference, _pair: Pair, _rng: np.random.Generator) -> Interval:
    return difference.interval()


def _hierarchical(difference: NetworkDifference, pair: Pair, rng: np.random.Generator) -> Interval:
    """Percentiles of a bootstrap over seeds and images."""
    resamples, seeds = pair[0].resampled.shape
    drawn = rng.integers(seeds, size=(2, resamples, seeds))
    if len(difference.trainings) == 1:
        drawn[1] = drawn[0]
    first, second = (np.take_along_axis(one.resampled, seeds_, 1) for one, seeds_ in zip(pair, drawn, strict=True))
    return _percentiles(second - first)


def _images_alone(_difference: NetworkDifference, pair: Pair, _rng: np.random.Generator) -> Interval:
    """Percentiles of a bootstrap over images, as if there were no other trainings."""
    return _percentiles(pair[1].resampled - pair[0].resampled)


def _percentiles(differences: Array) -> Interval:
    low, high = np.quantile(differences.mean(axis=1), [0.025, 0.975]).tolist()
    return Interval(low, high)


METHODS: Mapping[str, Callable[[NetworkDifference, Pair, np.random.Generator], Interval]] = MappingProxyType(
    {"Student": _student, "bootstrap of seeds and images": _hierarchical, "bootstrap of images": _images_alone}
)
