import numpy as np
from numpy.typing import NDArray

def mask_to_boundary(mask: NDArray[np.uint8], dilation_ratio: float = 0.02) -> NDArray[np.uint8]: ...
