"""A network that cannot be run is named; tests/stages/test_complexity.py measures one that can."""

from dataclasses import replace

import pytest

from model.complexity.measure import MeasurementError, Task, measure_apart
from tests.model.network.tiny_network import STUFF, THINGS, TINY

TASK = Task(TINY, THINGS, STUFF, width=64, height=48, repeats=3)


def test_a_network_that_cannot_be_built_is_named() -> None:
    with pytest.raises(MeasurementError, match=r"model 'mine' could not be run at 64 x 48: .*'alexnet'"):
        measure_apart("mine", replace(TASK, config=replace(TINY, backbone="alexnet")))
