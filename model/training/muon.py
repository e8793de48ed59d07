"""Muon: momentum whose every matrix is replaced by the nearest orthogonal one (Jordan et al., 2024).

Not in the paper and off in its recipe. On the embedded dataset a step teaches the network about as much as two or
three of AdamW; see `optimiser: muon` in params.yaml.
"""

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of the Newton-Schulz step: singular values go quickly to about 1, and need not get closer."""


ParameterGroup = dict[str, Any]
"""As torch optimisers take them: `params`, a list of parameters, and settings of the group."""


class Muon(Optimizer):
    """For parameters of two or more dimensions; a convolution's filters are the rows of one matrix."""

    def __init__(
        self, params: Iterable[ParameterGroup], lr: float, weight_decay: float = 0.0, momentum: float = 0.95
    ) -> None:
        """Train the groups `params`, which may have rates of their own."""
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient; closures are not supported."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    update = self._nesterov(parameter, group["momentum"])
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(orthogonalise(update.flatten(1)).view_as(parameter), alpha=-group["lr"])
        return None

    def _nesterov(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        gathered: Tensor = state["momentum"].mul_(momentum).add_(parameter.grad)
        assert parameter.grad is not None
        return parameter.grad.add(gathered, alpha=momentum)


def orthogonalise(matrix: Tensor, steps: int = 5) -> Tensor:
    """A matrix (rows, columns) of the same row and column space with singular values of about 1.

    Tall matrices are scaled by sqrt(rows / columns), so that outputs change alike whatever the shape.
    """
    rows, columns = matrix.shape
    wide = matrix.mT if rows > columns else matrix
    wide = wide / (wide.norm() + 1e-7)
    a, b, c = QUINTIC
    for _ in range(steps):
        gram = wide @ wide.mT
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    orthogonal: Tensor = wide.mT if rows > columns else wide
    return orthogonal.mul(max(1.0, rows / columns) ** 0.5)
