"""Curves mark where the learning rate fell by the schedule `step`, and nowhere else."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex

from model.training.optimizer import rate_at
from model.training.settings import TrainSettings
from panoptic.report.comparison import Comparison
from panoptic.report.comparison_page import render_comparison
from panoptic.report.figures import SOFT, lines_figure, marks_of, rate_drops
from panoptic.report.page import render
from panoptic.report.run_files import RunFiles, Table
from tests.panoptic.report.made_runs import write_runs

SETTINGS = TrainSettings(epochs=12, step_epochs=[8, 11], warmup_steps=30)
STEPS_PER_EPOCH, LOG_EVERY = 100, 20
FALLS = "the learning rate falls"


def logged(settings: TrainSettings, log_every: int = LOG_EVERY, steps_per_epoch: int = STEPS_PER_EPOCH) -> Table:
    """The loss curve as training writes it: the rate of the last step before each row."""
    steps = range(log_every, steps_per_epoch * settings.epochs + 1, log_every)
    rates = [f"{rate_at(step - 1, steps_per_epoch, settings):.6g}" for step in steps]
    return {"step": [str(step) for step in steps], "learning_rate": rates, "total": ["1"] * len(rates)}


def test_rates_fall_at_the_epochs_of_the_schedule() -> None:
    assert rate_drops(logged(SETTINGS)) == [800, 1100]


def test_between_rows_of_the_log_the_first_counts() -> None:
    assert rate_drops(logged(SETTINGS, log_every=30)) == [780, 1080]


@pytest.mark.parametrize("steps_per_epoch", [100, 14_786])
def test_a_cosine_marks_nothing(steps_per_epoch: int) -> None:
    assert rate_drops(logged(replace(SETTINGS, schedule="cosine"), steps_per_epoch=steps_per_epoch)) == []


@pytest.mark.parametrize("rates", [["0.1", "0.1", ""], ["0", "0", "0"], ["0.1", "0.1", "0.06"], ["0.1", "0.01"], []])
def test_what_is_no_fall_marks_nothing(rates: list[str]) -> None:
    assert rate_drops({"step": [str(step) for step in range(len(rates))], "learning_rate": rates}) == []
    assert rate_drops({"step": ["20"], "total": ["1"]}) == []


def test_a_fall_has_the_color_of_its_run_unless_runs_share_it() -> None:
    tables = [logged(replace(SETTINGS, step_epochs=epochs)) for epochs in ([8], [5, 8])]
    assert marks_of([*tables, None], ["#000001", "#000002", "#000003"]) == [(800, SOFT), (500, "#000002")]


def test_marks_stand_where_the_rate_falls_and_are_named() -> None:
    figure = lines_figure("PQ", "percent", {"step": ["600", "1200"], "all": ["20", "40"]}, ["all"], [(800.0, SOFT)])
    axes = figure.axes[0]
    curve, mark, _ = axes.lines
    assert np.asarray(mark.get_xdata()).tolist() == [800, 800]
    assert to_hex(mark.get_color()) == SOFT
    assert np.asarray(curve.get_xdata()).tolist() == [600, 1200]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["all", FALLS]


def test_pages_of_runs_show_the_marks(tmp_path: Path) -> None:
    made = write_runs(tmp_path)
    assert FALLS not in render(RunFiles.read(made[0])) + render_comparison(Comparison.read(made))
    stepped = [Path(shutil.copytree(run, tmp_path / name)) for run, name in zip(made, "ab", strict=True)]
    for run in stepped:
        lines = zip(*logged(SETTINGS).values(), strict=True)
        text = "".join(",".join(line) + "\n" for line in (("step", "learning_rate", "total"), *lines))
        (run / "train/loss.csv").write_text(text)
    assert render(RunFiles.read(stepped[0])).count(FALLS) == 2, "loss and quality"
    assert render_comparison(Comparison.read(stepped)).count(FALLS) == 2
