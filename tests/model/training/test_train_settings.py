"""Settings of training that cannot be meant are refused with a message that says what to do."""

import pytest

from model.training.settings import TrainSettings


@pytest.mark.parametrize("steps", [[0], [6], [9], [3, 2], [2, 2], [-1], [2, 7]])
def test_steps_of_the_rate_outside_the_run_unsorted_or_doubled_are_refused(steps: list[int]) -> None:
    with pytest.raises(
        ValueError, match=r"step_epochs is \[.*\], but train.epochs is 6; give ascending epochs between 0"
    ):
        TrainSettings(epochs=6, step_epochs=steps)


def test_steps_within_the_run_are_accepted() -> None:
    assert TrainSettings(epochs=6, step_epochs=[1, 5]).rate_steps == [1, 5]
    assert TrainSettings(epochs=6, step_epochs=[]).rate_steps == []
    assert TrainSettings(epochs=6, schedule="cosine", step_epochs=[8]).schedule == "cosine"


def test_the_published_step_is_the_default_of_runs_that_are_longer() -> None:
    assert [TrainSettings(epochs=epochs).rate_steps for epochs in (8, 9, 12)] == [[], [8], [8]]
