"""State of an unfinished run: what is needed to go on after a kill and end with the same weights.

It lies outside DVC's outputs, in a folder named after a fingerprint of everything that decides the result
(settings, data, code), so that a run with other settings never resumes this one.
"""

import io
import pickle
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer

from model.training.curves import Curves
from model.training.ema import WeightAverage
from panoptic.files import write_atomically


@dataclass
class RunState:
    """Everything that changes while a run goes on; `step` optimiser steps are finished."""

    network: nn.Module
    optimisers: tuple[Optimizer, ...]
    average: WeightAverage | None
    curves: Curves
    step: int = 0

    def save(self, path: Path) -> None:
        """Replace `path` by the present state, all of it or nothing."""
        buffer = io.BytesIO()
        torch.save(
            {
                "step": self.step,
                "network": self.network.state_dict(),
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
                "average": self.average.network.state_dict() if self.average else None,
                "curves": self.curves.tables(),
            },
            buffer,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, buffer.getvalue())

    def restore(self, path: Path) -> None:
        """Take over the state in `path`."""
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
            raise ValueError(
                f"{path} is not a training state ({error}); delete it to start this run from its beginning"
            ) from error
        self.step = saved["step"]
        self.network.load_state_dict(saved["network"])
        for optimiser, state in zip(self.optimisers, saved["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        if self.average:
            self.average.network.load_state_dict(saved["average"])
        self.curves.restore(saved["curves"])
