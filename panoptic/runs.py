"""Runs of equal ids in a row of them: a picture has far fewer runs than pixels."""

import numpy as np
from numpy.typing import NDArray


def run_starts(ids: NDArray[np.int32]) -> NDArray[np.int64]:
    """Where each run of a one-dimensional array begins; the first at 0, none in an empty array."""
    changes = np.ones(ids.shape, dtype=bool)
    np.not_equal(ids[1:], ids[:-1], out=changes[1:])
    return np.flatnonzero(changes)
