"""The real packages log every row once, show the settings, start again without a gap, and fail in one line."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from panoptic.loggers.packages import PACKAGES
from tests.panoptic.loggers.reading import Curve, mlflow_curves, tensorboard_curves, wandb_curves

SETTINGS = {"train.seed": 3, "train.augmentation.resize_shorter": [480, 512], "model.backbone": "tiny"}
RUN = "train-0123456789abcdef"

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _with_the_packages() -> None:
    for name in PACKAGES:
        pytest.importorskip(name)


def log(name: str, curves: Path, folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    arguments = ["--curves", str(curves), "--run", RUN, "--folder", str(folder), "--settings", json.dumps(SETTINGS)]
    command = [sys.executable, "-m", "panoptic.loggers", name, *arguments, *options]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def write_curves(folder: Path, steps: int) -> Mapping[str, Curve]:
    """Write curves with a row every second step, and a quality every fourth; return them by name."""
    folder.mkdir(exist_ok=True)
    loss = [(step, 1e-3 / step, 8.0 / step) for step in range(2, steps + 1, 2)]
    quality = [(step, float("nan") if step == 4 else step / 2) for step in range(4, steps + 1, 4)]
    rows = "".join(f"{step},{rate:.6g},{total:.6g}\n" for step, rate, total in loss)
    (folder / "loss.csv").write_text(f"step,learning_rate,total\n{rows}")
    (folder / "quality.csv").write_text("step,all\n" + "".join(f"{step},{pq:.6g}\n" for step, pq in quality))
    return {
        "loss/learning_rate": [(step, rate) for step, rate, _ in loss],
        "loss/total": [(step, total) for step, _, total in loss],
        "quality/all": quality,
    }


def logged_curves(name: str, folder: Path) -> Mapping[str, Curve]:
    """Read what a logger has, checking the settings that it shows."""
    if name == "tensorboard":
        curves, table = tensorboard_curves(folder, RUN)
        assert [cell.strip() for cell in table.splitlines()[3].split("|")[1:3]] == [
            "train.augmentation.resize_shorter",
            "[480, 512]",
        ]
    elif name == "mlflow":
        curves, params, status = mlflow_curves(f"sqlite:///{folder / 'mlflow.db'}", RUN)
        assert params == {
            key: value if isinstance(value, str) else json.dumps(value) for key, value in SETTINGS.items()
        }
        assert status == "FINISHED"
    else:
        curves, settings = wandb_curves(folder, RUN)
        assert {key: settings.get(key) for key in SETTINGS} == SETTINGS
    return curves


def assert_equal_curves(found: Mapping[str, Curve], expected: Mapping[str, Curve]) -> None:
    assert {key: [step for step, _ in curve] for key, curve in found.items()} == {
        key: [step for step, _ in curve] for key, curve in expected.items()
    }
    for key, curve in expected.items():
        values = [value for _, value in curve]
        assert [value for _, value in found[key]] == pytest.approx(values, rel=1e-5, nan_ok=True), key


@pytest.mark.parametrize("name", PACKAGES)
def test_a_logger_that_starts_again_has_every_row_once(name: str, tmp_path: Path) -> None:
    folder, curves = tmp_path / "loggers", tmp_path / "curves"
    for steps in (6, 6, 12):
        expected = write_curves(curves, steps)
        done = log(name, curves, folder)
        assert done.returncode == 0, done.stderr
        assert done.stderr == f"{name} has the {steps // 2 + steps // 4} rows of the curves in {curves}\n"
        assert done.stdout == ""
        assert_equal_curves(logged_curves(name, folder), expected)


def test_a_database_that_mlflow_did_not_complete_is_not_used_again(tmp_path: Path) -> None:
    expected, folder = write_curves(tmp_path / "curves", 6), tmp_path / "loggers"
    options = ["--curves", str(tmp_path / "curves"), "--run", RUN, "--folder", str(folder), "--settings", "{}"]
    killed = subprocess.Popen([sys.executable, "-m", "panoptic.loggers", "mlflow", *options])
    while not list(folder.glob("**/mlflow.db")) and killed.poll() is None:
        time.sleep(0.01)
    killed.kill()
    assert killed.wait() == -9, "it finished before it could be killed"
    assert not (folder / "mlflow.db").exists()
    assert log("mlflow", tmp_path / "curves", folder).returncode == 0
    assert_equal_curves(logged_curves("mlflow", folder), expected)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_full_disk_is_one_line_of_warning(name: str, tmp_path: Path, small_disk: Path) -> None:
    write_curves(tmp_path / "curves", 20_000)
    done = log(name, tmp_path / "curves", small_disk / "loggers", "--follow")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"warning: {name} no longer gets the curves in {tmp_path / 'curves'} (")


@pytest.mark.parametrize("settings", ["{", "[" * 100_000, "[]"])
def test_what_are_no_settings_is_refused(settings: str, tmp_path: Path) -> None:
    write_curves(tmp_path / "curves", 6)
    done = log("wandb", tmp_path / "curves", tmp_path / "loggers", f"--settings={settings}")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --settings: ")
    assert done.stderr.count("\n") == 1


def test_a_signal_ends_it_with_a_line_on_its_own_standard_error(tmp_path: Path) -> None:
    folder = tmp_path / "loggers"
    options = ["--curves", str(tmp_path), "--run", RUN, "--folder", str(folder), "--follow"]
    program = subprocess.Popen(
        [sys.executable, "-m", "panoptic.loggers", "tensorboard", *options],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not list(folder.glob("tensorboard/*/events*")) and program.poll() is None:
        time.sleep(0.05)
    program.terminate()
    _, said = program.communicate()
    assert program.returncode == 143
    assert said == b"ended by SIGTERM; repeat the command to resume, or to start again\n"


def test_a_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # the default multiplies the time
    write_curves(tmp_path / "curves", 6)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = log("mlflow", tmp_path / "curves", tmp_path / "loggers", "--mlflow-uri", address)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"warning: mlflow no longer gets the curves in {tmp_path / 'curves'} (")
    assert "read timeout=10" in line


def test_what_is_no_folder_of_curves_is_refused(tmp_path: Path) -> None:
    done = log("wandb", tmp_path, tmp_path / "loggers")
    assert done.returncode == 2
    assert done.stderr == f"error: {tmp_path}: there is no loss.csv or quality.csv; give --curves of a training\n"
