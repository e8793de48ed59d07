"""Training with loggers gives the weights of training without, even if it is killed and the loggers fail."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.panoptic.loggers.reading import Curve, mlflow_curves, tensorboard_curves, wandb_curves
from tests.stages.training_runs import PARAMS, Training, left, until, write_dataset

STEPS = 16
PACE: Mapping[str, object] = {"epochs": STEPS // 2, "save_every": 5, "validate_every": 8}
NAMES = ["tensorboard", "mlflow", "wandb"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def plain(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """A training without loggers."""
    training = Training(dataset, tmp_path_factory.mktemp("plain"))
    training.run(None, **PACE)
    return training


def with_loggers(plain: Training, folder: Path, **settings: object) -> Training:
    for name in NAMES:
        pytest.importorskip(name)
    loggers = {"names": NAMES, "folder": str(folder / "loggers"), **settings}
    return replace(plain, folder=folder, params={**PARAMS, "loggers": loggers})


def curves_of(training: Training) -> dict[str, Curve]:
    """Read the CSV files."""
    curves: dict[str, Curve] = {}
    for table in ("loss", "quality"):
        head, *rows = (training.folder / f"curves/{table}.csv").read_text().splitlines()
        for column, name in enumerate(head.split(",")[1:], 1):
            cells = [row.split(",") for row in rows]
            curves[f"{table}/{name}"] = [(int(row[0]), float(row[column])) for row in cells]
    return curves


def test_killed_and_resumed_it_is_logged_without_gap_or_duplicate(plain: Training, tmp_path: Path) -> None:
    training = with_loggers(plain, tmp_path)
    command = training.command(None, **PACE)
    killed = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until(lambda: training.states and any(tmp_path.glob("loggers/tensorboard/*/events*")), killed)
    time.sleep(0.5)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not left(tmp_path / "curves"), "loggers end with their training"
    output = training.run(None, **PACE)
    assert "resuming from" in output
    assert "warning" not in output
    assert training.results() == plain.results()
    expected = curves_of(plain)
    assert {step for step, _ in expected["quality/all"]} == {8, STEPS}

    (run,) = {path.name for path in tmp_path.glob("loggers/tensorboard/*")}
    found = (
        tensorboard_curves(tmp_path / "loggers", run)[0],
        mlflow_curves(f"sqlite:///{tmp_path / 'loggers/mlflow.db'}", run)[0],
        wandb_curves(tmp_path / "loggers", run)[0],
    )
    for curves in found:
        assert curves.keys() == expected.keys()
        for name, curve in expected.items():
            assert [step for step, _ in curves[name]] == [step for step, _ in curve], name
            assert [value for _, value in curves[name]] == pytest.approx([value for _, value in curve], nan_ok=True)


@pytest.mark.parametrize(
    ("names", "settings"), [(NAMES, {}), (["mlflow"], {"mlflow_uri": "http://127.0.0.1:9"})], ids=["file", "server"]
)
def test_loggers_that_fail_change_nothing(
    plain: Training, tmp_path: Path, names: list[str], settings: dict[str, object]
) -> None:
    """No folder can be made where a file is, and at the port 9 there is no server."""
    if not settings:
        (tmp_path / "loggers").write_text("a file")
    training = with_loggers(plain, tmp_path, names=names, **settings)
    output = training.run(None, **PACE)
    assert training.results() == plain.results()
    assert output.count("warning: ") == len(names)
    assert all(output.count(f"warning: {name} no longer gets the curves in ") == 1 for name in names)
    assert not left(tmp_path / "curves")
