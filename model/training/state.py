"""State of an unfinished run: what is needed to go on after a kill and end with the same weights.

It lies outside DVC's outputs, in a folder named after a fingerprint of everything that decides the result
(settings, data, code), so that a run with other settings never resumes this one.
"""

import io
import pickle
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from model.training.curves import Curves
from model.training.distributed.sharding import load_whole, load_whole_optimizer, whole_on_cpu
from model.training.ema import WeightAverage
from panoptic.io.files import write_atomically


@dataclass
class RunState:
    """Everything that changes while a run goes on; `step` optimizer steps are finished."""

    network: nn.Module
    optimizers: tuple[Optimizer, ...]
    average: WeightAverage | None
    curves: Curves
    step: int = 0
    recent: list[Tensor] = field(default_factory=list)
    """Loss terms of the steps since the last row of the loss curve."""

    def save(self, path: Path, leads: bool = True) -> None:
        """Replace `path` by the present state, all of it or nothing.

        Of several processes all call it, because each may hold a part of the state, and the one that leads writes.
        """
        state = {
            "step": self.step,
            "network": self.network.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "average": self.average.network.state_dict() if self.average else None,
            "recent": self.recent,
            "curves": self.curves.tables(),
        }
        saved = whole_on_cpu(state, keep=leads)
        if not leads:
            return
        buffer = io.BytesIO()
        torch.save(saved, buffer)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, buffer.getvalue())

    def restore(self, content: bytes, path: Path, leads: bool = True) -> None:
        """Take over the state that is the `content` of `path`; the process that leads writes the curves."""
        try:
            saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
            raise ValueError(
                f"{path} is not a training state ({error}); delete it to start this run from its beginning"
            ) from error
        self.step = saved["step"]
        load_whole(self.network, saved["network"])
        for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
            load_whole_optimizer(optimizer, state)
        if self.average:
            load_whole(self.average.network, saved["average"])
        device = next(self.network.parameters()).device
        self.recent = [terms.to(device) for terms in saved["recent"]]
        if leads:
            self.curves.restore(saved["curves"])
