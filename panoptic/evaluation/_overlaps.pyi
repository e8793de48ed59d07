import numpy as np
from numpy.typing import NDArray

def count_overlaps(
    gt_ids: NDArray[np.int32], prediction_ids: NDArray[np.int32], distance: int
) -> NDArray[np.int64]: ...
