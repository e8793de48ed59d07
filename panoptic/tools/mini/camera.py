"""The camera: image size, height of the horizon, and the coordinates that follow from them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from panoptic.tools.mini.arrays import Field


@dataclass(frozen=True)
class Camera:
    """A view of `height` x `width` pixels with the horizon at row `horizon`."""

    height: int
    width: int
    horizon: float

    @cached_property
    def x(self) -> Field:
        """(H, W), column of each pixel's center, in units of the image's shorter side."""
        return self._grid(self.width, 1)

    @cached_property
    def y(self) -> Field:
        """(H, W), row of each pixel's center, in units of the image's shorter side."""
        return self._grid(self.height, 0)

    @cached_property
    def nearness(self) -> Field:
        """(H, W), 0 at and above the horizon, 1 at the lower edge of the image."""
        rows = (np.arange(self.height) + 0.5 - self.horizon) / (self.height - self.horizon)
        return np.broadcast_to(np.clip(rows, 0, 1)[:, None], (self.height, self.width))

    @cached_property
    def ground(self) -> tuple[Field, Field]:
        """Coordinates (u, v) of each pixel on the ground plane: equal steps look smaller with distance."""
        distance = 1 / (self.nearness + 0.35)
        return (self.x - self.middle_x) * distance, -distance

    @property
    def horizon_y(self) -> float:
        """Row of the horizon in units of `y`."""
        return self.horizon / self.side

    @property
    def middle_x(self) -> float:
        """Column of the image's middle in units of `x`."""
        return self.width / 2 / self.side

    @property
    def side(self) -> int:
        """Shorter side in pixels: the unit of `x` and `y`."""
        return min(self.height, self.width)

    def _grid(self, length: int, axis: int) -> Field:
        along = (np.arange(length) + 0.5) / self.side
        shaped = along[:, None] if axis == 0 else along[None, :]
        return np.broadcast_to(shaped, (self.height, self.width))
