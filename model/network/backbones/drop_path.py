"""Stochastic depth (Huang et al., arXiv 1603.09382) for bodies whose blocks have a branch."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class DropBranch:
    """Stochastic depth of a branch as a forward hook: in training its output (B, ...) is 0 for some of the images."""

    probability: float

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], branch: Tensor) -> Tensor:
        """Return the branch, in training with some images dropped and the others scaled up."""
        if not module.training:
            return branch
        keep = 1 - self.probability
        kept = torch.empty(len(branch), *[1] * (branch.dim() - 1), dtype=branch.dtype, device=branch.device)
        return branch * kept.bernoulli_(keep) / keep
