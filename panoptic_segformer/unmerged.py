"""The findings of the network in an image, to be merged with one setting after another."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.device import usual_defaults
from model.inference.merging import MergingSettings
from model.inference.post_processing import FoundMasks, PanopticPrediction
from panoptic.format.categories import CategoryTable
from panoptic_segformer.result import Result


@dataclass(frozen=True)
class MergedMap:
    """The map of a runtime that merges by itself; used like `model.inference.post_processing.FoundMasks`."""

    prediction: PanopticPrediction
    settings: MergingSettings

    @property
    def nbytes(self) -> int:
        """Bytes of the map."""
        return self.prediction.ids.nbytes

    def merge(self, settings: MergingSettings) -> PanopticPrediction:
        """Return the map. Raises `ValueError` for other settings than those that it was merged with."""
        if settings != self.settings:
            raise ValueError("an exported file merges with its own settings; load the weights that it is from")
        return self.prediction


@dataclass(frozen=True)
class Unmerged:
    """The masks of an image before merging; `Model.find` makes one."""

    name: str
    image: NDArray[np.uint8]
    """(H, W, 3) RGB, upright."""
    found: FoundMasks | MergedMap
    categories: CategoryTable
    settings: MergingSettings
    """Those of the model."""

    @property
    def nbytes(self) -> int:
        """Bytes of the image and everything that was found."""
        return self.image.nbytes + self.found.nbytes

    @usual_defaults()
    def merge(self, settings: MergingSettings | None = None) -> Result:
        """Merge, by default with the model's settings; the network does not run again."""
        return Result.of(self.name, self.image, self.found.merge(settings or self.settings), self.categories)
