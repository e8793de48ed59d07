"""The difference between two networks, each trained with several seeds and scored on the same images.

A difference of scores has three sources besides the networks: the seeds, the choice of images, and how the two act
together. With D the difference of the means over the seeds,

    Var(D) = sum over the networks of (variance over the seeds) / seeds + image variance

The variance over the seeds is that of their scores on the images at hand, so what seeds and images do together is in
it. The image variance is what the choice of images does to all seeds alike: the covariance, between different seeds, of
scores that are counted again on resampled images (the bootstrap of `panoptic.evaluation.bootstrap`), which are the same
for all seeds and both networks.

The interval is Student's. Its critical value is the mean of those of seeds and images, weighted by their variances
(Cochran and Cox, Experimental Designs, 1950), because the variance of a few seeds may be small by chance: degrees of
freedom of the sum (Satterthwaite, Biometrics Bulletin 2, 1946) would then be those of the images, and the interval too
narrow. Those of the seeds of two networks are Welch's (Biometrika 34, 1947), which is the same approximation.

This is the analysis of diagnostic studies with several readers and cases, with seeds in place of readers: Obuchowski
and Rockette, Communications in Statistics 24 (1995), in the form of Hillis, Statistics in Medicine 26 (2007), but for
the critical value. Percentiles of a bootstrap over seeds would be too narrow where seeds matter most, because three
seeds have no more than ten different resamples, and too wide where images do.
`python -m benchmarks.interval_coverage` counts how often either interval contains the difference.

Assumptions: the seeds of a network are independent, and so are the images; the scores of a network are about normal
over its seeds; classes occur in several images, because the bootstrap cannot see the variance of one that occurs in a
single image. Two results of the same weights are paired by their seeds. Networks that were trained apart are not,
although equal seeds give equal batches: if that makes their scores alike, the interval is too wide, not too narrow.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from panoptic.evaluation.bootstrap import Interval
from panoptic.evaluation.scores import Array

FEWEST_SEEDS = 2
_SMALLEST = -30  # exponent of the smallest probability that is told from 0


@dataclass(frozen=True)
class SeedScores:
    """The scores of a network by seed, (seeds,), and on resampled images, (resamples, seeds).

    A resample has the same images for every seed and every network.
    """

    values: Array
    resampled: Array

    def __sub__(self, other: "SeedScores") -> "SeedScores":
        """Pair by seed."""
        return SeedScores(self.values - other.values, self.resampled - other.resampled)

    @property
    def shared_variance(self) -> float:
        """Variance that the choice of images causes to all seeds alike: the mean covariance between two of them."""
        seeds = len(self.values)
        apart = self.resampled.var(axis=0, ddof=1).sum()
        return float((self.resampled.sum(axis=1).var(ddof=1) - apart) / (seeds * (seeds - 1)))


@dataclass(frozen=True)
class SeedVariance:
    """Variance over independent trainings; `with_images` is the part of it that more images would reduce."""

    seeds: int
    total: float
    with_images: float

    @classmethod
    def of(cls, scores: SeedScores) -> "SeedVariance":
        """Estimate it from the scores of at least `FEWEST_SEEDS` seeds."""
        total = float(scores.values.var(ddof=1))
        apart = float(scores.resampled.var(axis=0, ddof=1).mean()) - scores.shared_variance
        return cls(len(scores.values), total, min(max(apart, 0.0), total))


@dataclass(frozen=True)
class NetworkDifference:
    """The mean score of one network minus that of another, and the variances that make it uncertain.

    Attributes:
        value: the difference, in the unit of the scores; variances are in its square.
        trainings: one entry if both results have the same weights, else one for each network.
        image_variance: of `value`, by the choice of the images, however many seeds there are.
        images: number of images.
    """

    value: float
    trainings: tuple[SeedVariance, ...]
    image_variance: float
    images: int

    @classmethod
    def between(cls, first: SeedScores, second: SeedScores, images: int, same_weights: bool) -> "NetworkDifference":
        """Subtract the scores of the first network from those of the second.

        With the same weights both have the same seeds, in the same order. At least `FEWEST_SEEDS` of each are needed.
        """
        assert min(len(first.values), len(second.values)) >= FEWEST_SEEDS
        parts = (second - first,) if same_weights else (first, second)
        shared = sum(part.shared_variance for part in parts)
        if not same_weights:
            shared -= 2 * float(np.cov(*(part.resampled.mean(axis=1) for part in parts))[0, 1])
        value = float(second.values.mean() - first.values.mean())
        return cls(value, tuple(map(SeedVariance.of, parts)), max(shared, 0.0), images)

    @property
    def seeds(self) -> int:
        """Number of seeds of each network; of the one with fewer, if they differ."""
        return min(part.seeds for part in self.trainings)

    @property
    def uncertainty(self) -> "Uncertainty":
        """Uncertainty of the value."""
        seeds = Variance.sum([Variance(part.total / part.seeds, part.seeds - 1) for part in self.trainings])
        return Uncertainty(seeds, Variance(self.image_variance, self.images - 1))

    def interval(self, level: float = 0.95) -> Interval:
        """Return the limits that contain the true difference with a probability of `level`."""
        width = self.uncertainty.limit((1 - level) / 2)
        return Interval(self.value - width, self.value + width)

    @property
    def p_value(self) -> float:
        """The probability of a difference at least as large, of either sign, if there were none."""
        return min(1.0, 2 * self.uncertainty.tail(abs(self.value)))

    def p_close(self, margin: float) -> float:
        """Return the probability of a difference at least as small if the true one were `margin` or more.

        The larger of two one-sided tests (Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987).
        """
        return self.uncertainty.tail(margin - abs(self.value))


@dataclass(frozen=True)
class Variance:
    """An estimate of a variance, and its degrees of freedom."""

    value: float
    freedom: float

    @classmethod
    def sum(cls, terms: Sequence["Variance"]) -> "Variance":
        """Add independent estimates (Satterthwaite, 1946)."""
        total = sum(term.value for term in terms)
        spread = sum(term.value**2 / term.freedom for term in terms if term.value)
        return cls(total, total**2 / spread if spread else min(term.freedom for term in terms))


@dataclass(frozen=True)
class Uncertainty:
    """The variances of a difference: by its seeds, and by its images."""

    seeds: Variance
    images: Variance

    @property
    def total(self) -> Variance:
        """The sum of both."""
        return Variance.sum([self.seeds, self.images])

    def limit(self, tail: float) -> float:
        """Return the error that is exceeded with the probability `tail`, at most one half."""
        total, parts = self.total.value, [part for part in (self.seeds, self.images) if part.value]
        if not total:
            return 0.0
        critical = sum(-float(special.stdtrit(part.freedom, tail)) * part.value for part in parts)
        return critical / math.sqrt(total)

    def tail(self, distance: float) -> float:
        """Return the probability of an error above `distance`."""
        if not self.total.value:
            return float(distance <= 0)
        if distance < 0:
            return 1 - self.tail(-distance)
        if distance > self.limit(10**_SMALLEST):
            return 0.0
        return 10 ** float(
            optimize.brentq(lambda exponent: self.limit(10**exponent) - distance, _SMALLEST, math.log10(0.5))
        )


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for the number of tests: calling all at most `level` has one wrong call with that probability.

    It holds however the tests depend on each other (Holm, Scandinavian Journal of Statistics 6, 1979).
    """
    corrected, largest = [1.0] * len(p_values), 0.0
    for rank, position in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[position]))
        corrected[position] = largest
    return corrected
