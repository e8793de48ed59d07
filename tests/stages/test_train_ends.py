"""A training ends soon, with one message and no process left, whatever happens; the same command resumes it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stages.training_runs import TWO_PROCESSES, Training, commands, left, parent, until, write_dataset

FAILING = """
import os, sys
import torch
from model.training import loop, sampling
from stages import train

def fails(function, step_of, error=sys.argv[1]):
    def call(*arguments):
        if step_of(*arguments) == 4:
            exec(error)
        return function(*arguments)
    return call

if "batch" in sys.argv[1]:
    images = sampling.TrainingImages
    images.__getitem__ = fails(images.__getitem__, lambda _, batch: batch.step)
elif "validation" in sys.argv[1]:
    train.measure_quality = fails(train.measure_quality, lambda *_: 4)
else:
    loop.optimize = fails(loop.optimize, lambda _, state, batches: state.step)
train.main(sys.argv[2:])
"""
LONG: dict[str, object] = {"epochs": 200}
KILLED = "a process that loads images was killed by SIGKILL"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize(
    ("workers", "error", "status", "said"),
    [
        (
            0,
            "raise MemoryError",
            2,
            "error: out of memory; MemoryError: a step needs less with a smaller train.images_",
        ),
        (1, "raise torch.OutOfMemoryError('CUDA out of memory.')", 2, "train.activation_checkpointing: true"),
        pytest.param(3, "torch.empty(1 << 50)", 2, "error: out of memory; ", marks=pytest.mark.slow),
        (3, "raise RuntimeError('new')", 1, "RuntimeError: new\nThe last saved state is kept: "),
        (1, "raise KeyboardInterrupt", 130, "ended by SIGINT; repeat the command to resume"),
        pytest.param(3, "sys.exit(9)", 9, "", marks=pytest.mark.slow),
        (1, "raise MemoryError('batch')", 2, "error: out of memory; batch: a step needs"),
        pytest.param(3, "raise OSError('batch')", 2, "error: batch\n", marks=pytest.mark.slow),
        pytest.param(1, "raise KeyError('batch')", 1, "The last saved state is kept", marks=pytest.mark.slow),
        pytest.param(1, "os.kill(os.getpid(), 9); batch", 2, KILLED, marks=pytest.mark.slow),
        pytest.param(3, "raise RuntimeError('validation')", 1, "RuntimeError: validation", marks=pytest.mark.slow),
    ],
)
def test_any_exception_ends_it(dataset: Path, tmp_path: Path, workers: int, error: str, status: int, said: str) -> None:
    training = Training(dataset, tmp_path)
    _, _, _, *arguments = training.command(workers=workers, validate_every=4)
    ended = subprocess.run([sys.executable, "-c", FAILING, error, *arguments], capture_output=True, text=True)
    assert ended.returncode == status, ended.stderr
    assert said in ended.stderr
    assert ("Traceback" in ended.stderr) == (status == 1)
    assert training.states
    assert not left(tmp_path / "curves")
    assert "step 3 of 6" in training.run()


@pytest.mark.parametrize(
    ("workers", "signals", "status", "said"),
    [
        pytest.param(1, {"loader": signal.SIGKILL}, 2, KILLED, id="one loader"),
        pytest.param(3, {"loader": signal.SIGKILL}, 2, KILLED, id="one of three loaders"),
        pytest.param(3, {"loaders": signal.SIGKILL}, 2, KILLED, id="all loaders", marks=pytest.mark.slow),
        pytest.param(3, {"group": signal.SIGINT}, 130, "stopped after step", id="Ctrl-C"),
        pytest.param(0, {"group": signal.SIGINT}, 130, "stopped after step", id="alone", marks=pytest.mark.slow),
        pytest.param(1, {"group": signal.SIGTERM}, 75, "stopped after step", id="SIGTERM", marks=pytest.mark.slow),
        pytest.param(1, {"group": signal.SIGHUP}, 129, "ended by SIGHUP", id="SIGHUP", marks=pytest.mark.slow),
        pytest.param(3, {"trainer": signal.SIGKILL}, -9, "", id="killed", marks=pytest.mark.slow),
    ],
)
def test_signals_end_it(
    dataset: Path, tmp_path: Path, workers: int, signals: dict[str, int], status: int, said: str
) -> None:
    training = Training(dataset, tmp_path)
    command = training.command(None, workers=workers, **LONG)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as trainer:
        until(lambda: training.states, trainer)
        loaders = [pid for pid, _ in commands() if parent(pid) == trainer.pid]
        receivers = {"loader": loaders[:1], "loaders": loaders, "group": [-trainer.pid], "trainer": [trainer.pid]}
        for receiver, number in signals.items():
            for pid in receivers[receiver]:
                os.kill(pid, number)
        errors = trainer.communicate(timeout=60)[1]
    assert trainer.returncode == status, errors
    assert said in errors
    assert "Traceback" not in errors
    assert not left(tmp_path / "curves")
    assert training.states


def test_a_second_ctrl_c_does_not_wait_for_the_step(dataset: Path, tmp_path: Path) -> None:
    _, _, _, *arguments = Training(dataset, tmp_path).command(workers=1)
    twice = "for _ in range(2): signal.raise_signal(signal.SIGINT)"
    program = [sys.executable, "-c", f"import signal\n{FAILING}", twice, *arguments]
    ended = subprocess.run(program, capture_output=True, text=True)
    assert ended.returncode == 130, ended.stderr
    assert ended.stderr.endswith("\nended by SIGINT; repeat the command to resume, or to start again\n")
    assert not left(tmp_path / "curves")


@pytest.mark.slow
def test_a_killed_evaluation_of_the_validation_is_said(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'stages.evaluate' in sys.orig_argv:\n    os.kill(os.getpid(), 9)\n"
    )
    command = Training(dataset, tmp_path).command(workers=1, validate_every=4)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 2, ended.stderr
    assert "error: the network could not be validated: stages.evaluate was killed without a word" in ended.stderr
    assert not left(tmp_path / "curves")


SMALL = 'mount -t tmpfs -o size=$0 none /dev/shm && exec "$@"'


@pytest.mark.parametrize("size", ["4k", pytest.param("64k", marks=pytest.mark.slow)])
def test_a_small_dev_shm_is_said(dataset: Path, tmp_path: Path, size: str) -> None:
    """Of 64 kB, semaphores fit, but no batches."""
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", SMALL, size]
    try:
        subprocess.run([*alone, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("user namespaces cannot be made here")
    command = Training(dataset, tmp_path).command(workers=1)
    ended = subprocess.run([*alone, *command], capture_output=True, text=True)
    assert ended.returncode == 2, ended.stderr
    assert "error: /dev/shm is too small for " in ended.stderr
    assert "set train.workers to 0" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not left(tmp_path / "curves")


@pytest.mark.slow
def test_an_error_of_the_program_in_one_of_several_processes_ends_all(dataset: Path, tmp_path: Path) -> None:
    training = Training(dataset, tmp_path)
    _, _, _, *arguments = training.command()
    (tmp_path / "failing.py").write_text(FAILING)
    error = "if os.environ['RANK'] == '1': raise RuntimeError('new')"
    agent = [sys.executable, "-m", "cluster.agent", json.dumps(TWO_PROCESSES), "", "run", "failing", error]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), str(tmp_path)])}
    ended = subprocess.run([*agent, *arguments], env=environment, capture_output=True, text=True)
    assert ended.returncode == 70, ended.stderr
    assert ended.stderr.count("Traceback") == 1
    assert "resuming from" not in ended.stdout
    assert not left(tmp_path / "curves")
