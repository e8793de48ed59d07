"""What the pages say that they were measured on."""

import os
import platform
import statistics
from collections.abc import Sequence

import torch

from model.device import pick_device


def device_name() -> str:
    """The GPU that the networks run on, else the processor and its cores."""
    if pick_device().type == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()}, {os.cpu_count()} cores"


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, with the lowest and the highest in brackets."""
    middle, low, high = (f"{number:.{digits}f}" for number in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({low} to {high})"
