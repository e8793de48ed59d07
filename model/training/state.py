"""State of an unfinished run: everything needed to resume after a kill and end with the same weights.

It is kept outside DVC's outputs, in a folder named after a fingerprint of everything that decides the result
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
from model.training.distributed.sharding import full_on_cpu, load_full, load_full_optimizer
from model.training.ema import WeightAverage
from panoptic.io.files import write_atomically


@dataclass
class RunState:
    """Everything that changes during a run; `step` optimizer steps are finished."""

    network: nn.Module
    optimizers: tuple[Optimizer, ...]
    average: WeightAverage | None
    curves: Curves
    step: int = 0
    recent: list[Tensor] = field(default_factory=list)
    """Loss terms of the steps since the last row of the loss curve."""

    def save(self, path: Path, is_main: bool = True) -> None:
        """Replace `path` with the present state, completely or not at all.

        All processes call it, because each may hold a shard of the state; the main one writes.
        """
        state = {
            "step": self.step,
            "network": self.network.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "average": self.average.network.state_dict() if self.average else None,
            "recent": self.recent,
            "curves": self.curves.tables(),
        }
        saved = full_on_cpu(state, keep=is_main)
        if not is_main:
            return
        buffer = io.BytesIO()
        torch.save(saved, buffer)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, buffer.getvalue())

    def restore(self, content: bytes, path: Path, is_main: bool = True) -> None:
        """Resume from the state that is the `content` of `path`; the main process rewrites the curves.

        Raises:
            ValueError: the file is damaged or is no training state.
        """
        try:
            saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
            raise ValueError(
                f"{path} is not a training state ({error}); delete it to start this run from its beginning"
            ) from error
        self.step = saved["step"]
        load_full(self.network, saved["network"])
        for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
            load_full_optimizer(optimizer, state)
        if self.average:
            load_full(self.average.network, saved["average"])
        device = next(self.network.parameters()).device
        self.recent = [terms.to(device) for terms in saved["recent"]]
        if is_main:
            self.curves.restore(saved["curves"])
