"""How a computed array is compared with a recorded one, full or sub-sampled."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

Array = npt.NDArray[np.number]
Steps = tuple[int, ...]
"""Along one axis: the distances at which values may have been recorded."""
ALL: Steps = (1,)

ATOL = 3e-4
BACKBONE_ATOL = 5e-6  # a wrong eps or another GELU hides under 1e-3
BOX_ATOL = 5e-5  # of boxes 0..1
PIXEL_ATOL = 2e-3
SHARE_ATOL = 1e-3  # 99.9 % of the pixels
AREA_ATOL = 2  # pixels


@dataclass(frozen=True)
class Check:
    """Outcome for one recorded array, or for one kind of number in it."""

    name: str
    error: float  # the largest
    tolerance: float
    remark: str = ""

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance; one that is not a number is not."""
        return self.error <= self.tolerance


def compare(name: str, actual: Tensor | Array, recorded: Array, atol: float, remark: str = "") -> Check:
    """Largest absolute difference; a recording without values fails, as nothing would be compared."""
    ours = np.asarray(actual)
    if ours.shape != recorded.shape:
        return Check(name, float("inf"), atol, f"recorded {recorded.shape}, computed {ours.shape}")
    if not recorded.size:
        return Check(name, float("inf"), atol, f"recorded {recorded.shape}, which holds no values")
    difference = np.abs(ours.astype(np.float64) - recorded.astype(np.float64))
    return Check(name, float(difference.max()), atol, remark)


def compare_sampled(name: str, full: Tensor, recorded: Array, steps: Sequence[Steps], atol: float) -> Check:
    """Compare with the values that were recorded of the full array, told from the recording's shape."""
    if full.ndim != recorded.ndim:
        return Check(name, float("inf"), atol, f"recorded {recorded.shape}, computed {tuple(full.shape)}")
    taken = []
    for size, count, choices in zip(full.shape, recorded.shape, steps, strict=True):
        fitting = [step for step in choices if -(-size // step) == count]
        if not fitting:
            places = f"every {' or '.join(map(str, choices))}"
            return Check(
                name, float("inf"), atol, f"recorded {recorded.shape}, {places} of {tuple(full.shape)} expected"
            )
        taken.append(slice(None, None, fitting[0]))
    return compare(name, full[tuple(taken)], recorded, atol)


def compare_stats(name: str, parts: Sequence[Tensor], recorded: Array, atol: float) -> Check:
    """Compare mean, unbiased deviation, mean absolute value, extremes and l2 norm of each part.

    The norm is divided by the root of the number of values: errors of `atol` everywhere move it by `atol` then.
    """
    ours = np.array([_stats(part) for part in parts])
    theirs = np.atleast_2d(np.array(recorded, dtype=np.float64))
    if ours.shape != theirs.shape:
        return Check(name, float("inf"), atol, f"recorded {theirs.shape}, computed {ours.shape}")
    roots = np.sqrt([part.numel() for part in parts])
    ours[:, -1] /= roots
    theirs[:, -1] /= roots
    return compare(name, ours, theirs, atol)


def _stats(values: Tensor) -> list[float]:
    x = values.double()
    return [part.item() for part in (x.mean(), x.std(), x.abs().mean(), x.min(), x.max(), x.norm())]
