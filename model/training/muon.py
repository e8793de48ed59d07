"""Muon: momentum with every matrix replaced by roughly the nearest orthogonal one (Jordan et al., 2024).

Not part of the paper, and off in its recipe. On the embedded dataset one step advances the network about as much as
two steps of AdamW; see `optimizer` in params.yaml.

The steps are those of `torch.optim.Muon` with `nesterov=True` and `adjust_lr_fn="original"`, to which a test compares
them: the same coefficients, five iterations, decoupled weight decay. Three things differ on purpose. Convolutions are
trained too, where torch accepts two dimensions only. The iteration runs in the precision of the parameters instead of
bfloat16. And it runs on the small Gram matrices, all of one size batched, instead of on one full matrix after another.
Momentum is a sum rather than an average of gradients, whose scale the orthogonalization removes.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of a Newton-Schulz step: they bring singular values quickly to about 1, which is close enough."""

ParameterGroup = dict[str, Any]
"""A group as torch optimizers take it: `params`, a list of parameters, and the settings of the group."""


class Muon(Optimizer):
    """Optimizer for parameters of two or more dimensions; the filters of a convolution are the rows of one matrix."""

    def __init__(
        self, params: Iterable[ParameterGroup], lr: float, weight_decay: float = 0.0, momentum: float = 0.95
    ) -> None:
        """Optimize the groups `params`, each of which may override `lr`."""
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
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            directions = [direction.flatten(1) for direction in self._nesterov(parameters, group["momentum"])]
            updates = [
                update.view_as(parameter)
                for parameter, update in zip(parameters, orthogonalize(directions), strict=True)
            ]
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(parameters, updates, alpha=-group["lr"])
        return None

    def _nesterov(self, parameters: list[nn.Parameter], momentum: float) -> Sequence[Tensor]:
        gradients: list[Tensor] = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        gathered: list[Tensor] = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_mul_(gathered, momentum)
        torch._foreach_add_(gathered, gradients)
        return torch._foreach_add(gradients, gathered, alpha=momentum)


def orthogonalize(matrices: Sequence[Tensor], steps: int = 5) -> list[Tensor]:
    """Set the singular values of each matrix (rows, columns) to about 1, keeping its row and column spaces.

    Tall matrices are then scaled by sqrt(rows / columns), so that outputs change by as much whatever the shape.
    """
    wide = [matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix for matrix in matrices]
    wide = [matrix / (matrix.norm() + 1e-7) for matrix in wide]
    results: list[Tensor] = list(wide)
    for rows in {len(matrix) for matrix in wide}:
        indices = [index for index, matrix in enumerate(wide) if len(matrix) == rows]
        factors = inverse_square_roots(torch.stack([wide[index] @ wide[index].mT for index in indices]), steps)
        for index, factor in zip(indices, factors, strict=True):
            results[index] = factor @ wide[index]
    return [_in_shape_of(matrix, result) for matrix, result in zip(matrices, results, strict=True)]


def inverse_square_roots(grams: Tensor, steps: int) -> Tensor:
    """Approximate the inverse square roots of Gram matrices (N, rows, rows) with eigenvalues in 0..1.

    Newton-Schulz steps are polynomials of the Gram matrix. So they leave alone the matrix itself, which may have many
    more columns, and all matrices with equally many rows share them.
    """
    a, b, c = QUINTIC
    identity = torch.eye(grams.shape[-1], device=grams.device)
    factors = polynomial = a * identity + torch.baddbmm(grams, grams, grams, beta=b, alpha=c)
    for _ in range(steps - 1):
        grams = polynomial @ grams @ polynomial
        polynomial = a * identity + torch.baddbmm(grams, grams, grams, beta=b, alpha=c)
        factors = polynomial @ factors
    return factors


def _in_shape_of(matrix: Tensor, wide: Tensor) -> Tensor:
    rows, columns = matrix.shape
    return wide if rows <= columns else wide.mT * (rows / columns) ** 0.5
