"""How several measurements of one thing are printed."""

import statistics
from collections.abc import Sequence


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, with the lowest and the highest in brackets."""
    middle, low, high = (f"{number:.{digits}f}" for number in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({low} to {high})"
