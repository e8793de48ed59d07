"""State of an unfinished run: everything needed to resume after a kill and end with the same weights.

It is kept outside DVC's outputs, in a folder named after a fingerprint of everything that decides the result
(settings, data, code), so that a run with other settings never resumes this one. The file is a zip file, as torch
writes it, with its SHA-256 in the comment.
"""

import io
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from model.training.curves import Curves, curve_issues
from model.training.distributed.sharding import full_on_cpu, load_full, load_full_optimizer
from model.training.ema import WeightAverage
from model.training.optimizer import optimizer_issues
from model.weights.checks import entry_issues, is_finite, seal_issue, sealed, shown_issues
from panoptic.io.files import write_atomically

_DAMAGE = (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError, AttributeError, OSError)
"""What `torch.load` raises for files that are no states."""


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
        write_atomically(path, sealed(buffer.getvalue()))

    def restore(self, content: bytes, path: Path, steps: int, is_main: bool = True) -> None:
        """Resume from the state that is the `content` of `path`; the main process rewrites the curves.

        Nothing is changed before everything in the state is verified: its digest, and that it is one of a run of
        `steps` steps with this network and these optimizers.

        Raises:
            ValueError: the file is damaged, is no training state, or one of another run.
        """
        try:
            issue = seal_issue(content)
            saved = None if issue else torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except _DAMAGE as error:
            issue = str(error).partition("\n")[0]
        if issue:
            raise ValueError(
                f"{path} is not a training state ({issue}); delete it to start this run from its beginning"
            )
        if issue is None and is_main:
            print(f"{path} has no digest, as an earlier version wrote it; only its shapes are verified", flush=True)
        if wrong := next(_wrong_parts(self, saved, steps), ""):
            raise ValueError(
                f"{path} is not a state of this run: {wrong}; delete it to start this run from its beginning"
            )
        parts = cast("dict[str, Any]", saved)
        self.step = parts["step"]
        load_full(self.network, parts["network"])
        for optimizer, state in zip(self.optimizers, parts["optimizers"], strict=True):
            load_full_optimizer(optimizer, state)
        if self.average:
            load_full(self.average.network, parts["average"])
        device = next(self.network.parameters()).device
        self.recent = [terms.to(device) for terms in parts["recent"]]
        if is_main:
            self.curves.restore(parts["curves"])


def _wrong_parts(run: RunState, saved: object, steps: int) -> Iterator[str]:
    """Yield everything in which a loaded state differs from one that this run would save."""
    names = ["step", "network", "optimizers", "average", "recent", "curves"]
    if not isinstance(saved, dict) or sorted(map(str, saved)) != sorted(names):
        yield f"it should hold {', '.join(names)}"
        return
    step, optimizers, recent = saved["step"], saved["optimizers"], saved["recent"]
    if type(step) is not int or not 0 <= step <= steps:
        yield f"its step is {step!r:.60}; expected 0 to {steps}"
        return
    for name, network in (("network", run.network), ("average", run.average.network if run.average else None)):
        yield from (f"{name}: {issue}" for issue in _network_issues(saved[name], network))
    if not isinstance(optimizers, list) or len(optimizers) != len(run.optimizers):
        yield f"it should hold a list of the states of {len(run.optimizers)} optimizers"
    else:
        for optimizer, state in zip(run.optimizers, optimizers, strict=True):
            yield from (f"{type(optimizer).__name__}: {issue}" for issue in optimizer_issues(optimizer, state))
    rows = recent if isinstance(recent, list) else [None]
    terms = [row for row in rows if isinstance(row, Tensor) and row.dim() == 1 and is_finite(row)]
    if len(terms) < len(rows) or len(rows) > step or len({(row.dtype, row.shape) for row in terms}) > 1:
        yield "its recent losses are not at most one row of finite numbers for each step"
    yield from curve_issues(saved["curves"], step)


def _network_issues(saved: object, network: nn.Module | None) -> Iterator[str]:
    if network is None or saved is None:
        if network is not saved:
            yield "it is there, but the run has none" if network is None else "it is missing"
    elif not isinstance(saved, dict):
        yield f"it is a {type(saved).__name__}, expected names and tensors"
    elif issues := entry_issues(saved, network.state_dict()):
        yield shown_issues(issues)
