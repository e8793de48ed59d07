"""Types of the arrays that the generator's modules exchange."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.float64]
"""(H, W), one number per pixel."""
Colors: TypeAlias = NDArray[np.float64]
"""(H, W, 3) RGB, 0..1."""
Color: TypeAlias = NDArray[np.float64]
"""(3,) RGB, 0..1."""
Mask: TypeAlias = NDArray[np.bool_]
"""(H, W)."""
Labels: TypeAlias = NDArray[np.int32]
"""(H, W)."""


def color(red: float, green: float, blue: float) -> Color:
    """Make a color from its three channels, each 0..1."""
    return np.array((red, green, blue))
