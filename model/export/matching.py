"""The same queries in the outputs of two programs, whose rounding may order equally probable ones differently."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

TIE = 1e-4
"""Probabilities that differ by no more may change places, or replace each other at the end of the list."""


@dataclass(frozen=True)
class MatchedQueries:
    """One picture's queries in two programs."""

    ours: Tensor  # (M,) positions of the same ones, M of N
    theirs: Tensor  # (M,)
    missing: int  # of ours and theirs together, those that the other program has not, but should have

    @classmethod
    def of(cls, ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> "MatchedQueries":
        """Queries are the same if their class is and their probabilities are tied; of all such, the closest masks are.

        Args:
            ours: outputs of one picture by name: `labels` and `probabilities` (1, N), `masks` (1, N, h, w).
            theirs: of the other program, of the same shapes.
        """
        labels, our_scores, masks = (ours[name][0] for name in ("labels", "probabilities", "masks"))
        their_labels, their_scores, their_masks = (theirs[name][0] for name in ("labels", "probabilities", "masks"))
        distance = torch.cdist(masks.flatten(1), their_masks.flatten(1), p=float("inf"))
        tied = (our_scores[:, None] - their_scores).abs() <= TIE
        allowed = ((labels[:, None] == their_labels) & tied & distance.isfinite()).numpy()
        rows, columns = linear_sum_assignment(np.where(allowed, distance.numpy(), np.finfo(np.float32).max))
        same = allowed[rows, columns]
        left, right = torch.from_numpy(rows[same]), torch.from_numpy(columns[same])
        return cls(left, right, _missing(our_scores, left) + _missing(their_scores, right))


def _missing(probabilities: Tensor, matched: Tensor) -> int:
    """How many are not matched, and more probable than what another program may have replaced them with."""
    alone = torch.ones_like(probabilities, dtype=torch.bool).index_fill(0, matched, False)
    return int((probabilities[alone] > probabilities.min() + TIE).sum())
