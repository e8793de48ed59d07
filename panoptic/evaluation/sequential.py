"""Decisions on many comparisons of networks, made again after each further seed, at one error rate.

The number of looks is planned before the first, and each may use an equal part of the error rate (Bonferroni). The
boundaries of O'Brien and Fleming would assume increments that are independent, normal and of a known variance, which
those of a few seeds on the same images are not. Within a look Holm's correction covers all comparisons. So the
probability that any two equal networks are called different, at any look, is at most `LEVEL`. That networks are close,
closer than a margin, is decided by tests of their own, at the same rate.

A comparison that is decided needs no more seeds, and keeps the decision and the numbers of that look.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from panoptic.evaluation.network_difference import NetworkDifference, holm

LEVEL = 0.05
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Decision:
    """A comparison after the look that decided it, or after the last.

    Attributes:
        look: its number, from 1.
        p_different: that the networks differ, corrected for all comparisons and looks.
        p_close: that they differ by less than the margin, corrected alike.
    """

    difference: NetworkDifference
    look: int
    p_different: float
    p_close: float

    @property
    def is_different(self) -> bool:
        """True if the networks differ."""
        return self.p_different <= LEVEL

    @property
    def is_close(self) -> bool:
        """True if they differ by less than the margin; they may differ nevertheless."""
        return self.p_close <= LEVEL

    @property
    def is_decided(self) -> bool:
        """True if no more seeds are needed."""
        return self.is_different or self.is_close


def decide(
    looks: Sequence[Mapping[Key, NetworkDifference]], comparisons: Sequence[Key], planned: int, margin: float
) -> dict[Key, Decision]:
    """Decide after each look, given the differences it found; those found after the decision are ignored.

    `comparisons` are all that were planned, and `planned` is the number of looks. A comparison that no look has found a
    difference for has no decision.
    """
    assert len(looks) <= planned
    decisions: dict[Key, Decision] = {}
    latest: dict[Key, NetworkDifference] = {}
    for number, found in enumerate(looks, start=1):
        is_open = [key for key in found if key not in decisions or not decisions[key].is_decided]
        latest |= {key: found[key] for key in is_open}
        different = _corrected({key: one.p_value for key, one in latest.items()}, comparisons, planned)
        close = _corrected({key: one.p_close(margin) for key, one in latest.items()}, comparisons, planned)
        decisions |= {key: Decision(found[key], number, different[key], close[key]) for key in is_open}
    return decisions


def _corrected(p_values: Mapping[Key, float], comparisons: Sequence[Key], looks: int) -> dict[Key, float]:
    """Correct for all comparisons, also those without a result, and for all looks."""
    corrected = holm([p_values.get(key, 1.0) for key in comparisons])
    return {key: min(1.0, looks * p_value) for key, p_value in zip(comparisons, corrected, strict=True)}
