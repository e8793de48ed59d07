"""The simulation with few draws, hence with wide bounds, and its closed forms against many draws."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.interval_coverage.__main__ import LIMITS, MINI, SCENARIOS
from benchmarks.interval_coverage.measure import measure_coverage, measure_wrong_calls
from benchmarks.interval_coverage.population import Population

DRAWS = 200
THREE_ERRORS = 3 * np.sqrt(0.05 * 0.95 / DRAWS)


@pytest.mark.parametrize("scenario", ["as mini, one is better", "seeds of one differ more", "the same weights"])
def test_intervals_contain_the_difference_as_often_as_they_say(scenario: str) -> None:
    found = measure_coverage(scenario, SCENARIOS[scenario], seeds=3, images=60, draws=DRAWS)
    assert found.contained["Student"] == pytest.approx(0.95, abs=THREE_ERRORS)


def test_other_intervals_do_not() -> None:
    found = measure_coverage("", SCENARIOS["seeds differ more"], seeds=3, images=200, draws=DRAWS)
    assert found.contained["Student"] == pytest.approx(0.95, abs=THREE_ERRORS)
    assert found.contained["bootstrap of images"] < found.contained["bootstrap of seeds and images"] < 0.95
    assert found.contained["bootstrap of images"] < 0.7


def test_equal_networks_are_seldom_called_different() -> None:
    equal = replace(MINI, gains=(0.0,) * 8, seed_effects=(0.1,) * 8)
    assert measure_wrong_calls(equal, images=60, draws=100).fraction <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 100)


@pytest.mark.parametrize("population", [*SCENARIOS.values(), LIMITS["a tenth of one's trainings fails"]])
def test_the_known_difference_is_that_of_many_draws(population: Population) -> None:
    rng = np.random.default_rng(1)
    draws = [population.draw(rng, seeds=40, images=100) for _ in range(10)]
    differences = [second.values.mean() - first.values.mean() for first, second in draws]
    error = np.std(differences, ddof=1) / np.sqrt(len(differences))
    assert population.known_difference == pytest.approx(np.mean(differences), abs=4 * error)
