"""Decisions after several looks."""

import pytest

from panoptic.evaluation.network_difference import NetworkDifference, SeedVariance
from panoptic.evaluation.sequential import decide


def difference(value: float, variance: float = 0.03) -> NetworkDifference:
    """A difference of two networks with three seeds each."""
    return NetworkDifference(value, (SeedVariance(3, variance, 0.0),) * 2, 0.0, 100)


def test_p_values_are_corrected_for_comparisons_and_looks() -> None:
    one, two = difference(1.0), difference(0.5)
    found = decide([{"a": one, "b": two}], ["a", "b", "missing"], planned=2, margin=0.1)
    assert one.p_value < two.p_value
    assert found["a"].p_different == pytest.approx(2 * 3 * one.p_value)
    assert found["b"].p_different == pytest.approx(2 * 2 * two.p_value)
    assert "missing" not in found


def test_a_decision_stays_and_what_is_found_later_is_ignored() -> None:
    found = decide(
        [{"a": difference(3.0), "b": difference(0.3)}, {"a": difference(0.0), "b": difference(3.0)}], "ab", 2, 0.1
    )
    assert (found["a"].look, found["a"].difference.value) == (1, 3.0)
    assert (found["b"].look, found["b"].difference.value) == (2, 3.0)
    assert found["a"].is_different
    assert found["b"].is_different


def test_close_networks_are_decided_too() -> None:
    found = decide([{"a": difference(0.02), "b": difference(0.02, variance=9.0)}], "ab", 1, margin=1.0)
    assert found["a"].is_close
    assert found["a"].is_decided
    assert not found["a"].is_different
    assert not found["b"].is_decided
