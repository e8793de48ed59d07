"""Random networks and images with known differences in PQ, which real runs cannot offer.

The counts of a class in an image follow a probit model. A segment is found if its ease is above 0:

    ease = ease of the class + effect of the training + ease of the image + ease of the image for the network + noise

with normal effects: of the training, of the image for all networks alike, of image and network for all its seeds; the
noise is that of one training. So PQ of a training on all images there are has a closed form, and its mean over all
trainings is an integral in one dimension.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from panoptic.evaluation.network_difference import SeedScores
from panoptic.evaluation.scores import Array, ratio

RESAMPLES = 200
_IOU = 0.85  # mean of matched segments
_FALSE_POSITIVES = 0.06  # for each segment of the ground truth, as in mini
_FAILURE = 1.5  # what a failed training takes from the ease
_QUADRATURE = np.polynomial.hermite_e.hermegauss(40)


@dataclass(frozen=True)
class Population:
    """All images, and all trainings of some networks.

    Attributes:
        frequency: segments of each class in an image, on average, (classes,).
        found: fraction of them that the first network finds, (classes,).
        gains: what each network adds to the ease.
        seed_effects: standard deviation of the effect of a training, for each network.
        common_seed_effect: above 0, all networks are results of the same trainings, which have that effect in common.
        network_effect: standard deviation of the ease of an image for a network.
        image_effect: that of the ease for all networks alike.
        failing: fraction of the second network's trainings that fail.
    """

    frequency: Array
    found: Array
    gains: tuple[float, ...] = (0.0, 0.0)
    seed_effects: tuple[float, ...] = (0.1, 0.1)
    common_seed_effect: float = 0.0
    network_effect: float = 0.5
    image_effect: float = 0.5
    failing: float = 0.0

    @property
    def same_weights(self) -> bool:
        """True if the networks differ in how they are used only."""
        return self.common_seed_effect > 0

    @property
    def known_difference(self) -> float:
        """PQ of the second network minus that of the first, in percent, expected over all trainings and images."""
        first = self._expected_quality(self.gains[0], self.seed_effects[0])
        second, failed = (
            self._expected_quality(self.gains[1] - loss, self.seed_effects[1]) for loss in (0.0, _FAILURE)
        )
        return 100 * ((1 - self.failing) * second + self.failing * failed - first)

    def draw(self, rng: np.random.Generator, seeds: int, images: int) -> list[SeedScores]:
        """Train every network with a number of seeds, and score all on the same images, in percent."""
        shape = images, len(self.found)
        segments = rng.poisson(self.frequency, shape)
        image = self._thresholds + self.image_effect * rng.standard_normal(shape)
        common = self.common_seed_effect * rng.standard_normal(seeds)
        weights = rng.multinomial(images, np.full(images, 1 / images), size=RESAMPLES).astype(np.float64)
        results = []
        for number, (gain, spread) in enumerate(zip(self.gains, self.seed_effects, strict=True)):
            training = gain + common + spread * rng.standard_normal(seeds)
            if number == 1:
                training -= _FAILURE * (rng.random(seeds) < self.failing)
            ease = image + self.network_effect * rng.standard_normal(shape) + training[:, None, None]
            results.append(_scores(*self._count(rng, segments, ndtr(ease)), weights))
        return results

    def _count(self, rng: np.random.Generator, segments: NDArray[np.int64], chances: Array) -> tuple[Array, Array]:
        """Draw the sums of IoU and the denominators of PQ, (seeds, images, classes)."""
        hits = rng.binomial(segments, chances)
        ious = hits * (1 - 2 * (1 - _IOU) * rng.random(hits.shape))
        false_positives = rng.poisson(_FALSE_POSITIVES * self.frequency, hits.shape)
        return ious, hits + (segments - hits) / 2 + false_positives / 2

    @property
    def _thresholds(self) -> Array:
        """The ease of each class with which the average training finds the fraction `found`."""
        return ndtri(self.found) * self._noise

    @property
    def _noise(self) -> float:
        return float(np.sqrt(1 + self.network_effect**2 + self.image_effect**2))

    def _expected_quality(self, gain: float, seed_effect: float) -> float:
        points, weights = _QUADRATURE
        spread = np.hypot(seed_effect, self.common_seed_effect)
        hits = ndtr((self._thresholds + gain + spread * points[:, None]) / self._noise)
        quality = _IOU * hits / (hits + (1 - hits) / 2 + _FALSE_POSITIVES / 2)
        return float(weights @ quality.mean(axis=1) / weights.sum())


def _scores(ious: Array, sizes: Array, weights: Array) -> SeedScores:
    """Add up over all images, and over the images of every resample."""
    resampled = [_quality(weights @ iou, weights @ size) for iou, size in zip(ious, sizes, strict=True)]
    return SeedScores(_quality(ious.sum(axis=1), sizes.sum(axis=1)), np.stack(resampled, axis=1))


def _quality(ious: Array, sizes: Array) -> Array:
    """PQ in percent, over the classes that occur."""
    quality: Array = 100 * np.nanmean(ratio(ious, sizes), axis=-1)
    return quality
