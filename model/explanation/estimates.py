"""Means with intervals of the bootstrap over images, which are resampled whole, as for all scores of this project."""

from collections.abc import Callable

import numpy as np

from panoptic.evaluation.bootstrap import image_weights, limits
from panoptic.evaluation.scores import Array, ratio
from panoptic.report.explained import Estimate

Statistic = Callable[[Array], Array]
"""From how often each image is drawn, (R, images), to a number for each of the resamples, (R,); NaN if it has none."""


class Resamples:
    """The same resamples of the images for all numbers of an explanation."""

    def __init__(self, images: int, resamples: int, seed: int = 0) -> None:
        self._once = np.ones((1, images))
        self._weights = np.zeros((0, images))
        if images and resamples:
            self._weights = image_weights(np.random.default_rng(seed), resamples, images)

    def estimate(self, statistic: Statistic) -> Estimate | None:
        """Compute a statistic of the images and its interval; None if the images as they are have none."""
        value = float(statistic(self._once)[0])
        if np.isnan(value):
            return None
        return Estimate.of(value, limits(statistic(self._weights)))

    def mean(self, sums: Array, counts: Array) -> Estimate:
        """Estimate a mean from its sum and count in each image, (images,) both; there has to be something to count."""
        found = self.estimate(lambda weights: ratio(weights @ sums, weights @ counts))
        assert found is not None
        return found
