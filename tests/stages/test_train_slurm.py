"""Training as a job of a real SLURM: submitted, watched, requeued, timed out, canceled. Needs root and slurm-wlm.

The settings of params.yaml are trained on a part of the embedded images.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm_cluster import SlurmCluster, slurm_cluster, why_not
from tests.stages.training_runs import PATIENCE, Training, shipped_settings, trainers, until, write_mini

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]

TWO_NODES = {"launcher": "slurm", "nodes": 2, "cpus_per_process": 1, "time": "30"}
IMAGES = 16
LENGTH = {"epochs": 8, "save_every": 4, "validate_every": 1000}  # 32 steps


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    with slurm_cluster() as running:
        yield running


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mini(tmp_path_factory.mktemp("data"), IMAGES)


@pytest.fixture
def training(dataset: Path, tmp_path: Path) -> Training:
    return Training(dataset, tmp_path, shipped_settings())


@pytest.fixture(scope="module")
def undisturbed(dataset: Path, cluster: SlurmCluster, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """Undisturbed training as a job, submitted by the stage's own command."""
    training = Training(dataset, tmp_path_factory.mktemp("undisturbed"), shipped_settings())
    watcher = watch(training.command(TWO_NODES, **LENGTH), cluster)
    output = finish(watcher)
    assert watcher.returncode == 0, output
    assert "32/32" in output, "the job's output is passed on"
    return training


def submit(training: Training, cluster: SlurmCluster, **train: object) -> "subprocess.Popen[str]":
    """Submit the training as a job and watch it."""
    return watch(training.start_command(TWO_NODES, **(LENGTH | train)), cluster)


def watch(command: list[str], cluster: SlurmCluster) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command, env=cluster.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(watcher: "subprocess.Popen[str]") -> str:
    output, _ = watcher.communicate(timeout=PATIENCE)
    return output


def jobs(cluster: SlurmCluster) -> list[str]:
    """List the ids of pending and running jobs."""
    return cluster.client("squeue", "--noheader", "--states=PENDING,RUNNING", "--format=%i").split()


def test_a_job_outlives_its_watcher_and_ends_with_the_same_bytes_after_a_requeue(
    training: Training, cluster: SlurmCluster, undisturbed: Training
) -> None:
    cluster.client("scontrol", "update", "PartitionName=test", "State=DOWN")  # so that the job waits
    watcher = submit(training, cluster)
    until(lambda: jobs(cluster), watcher)
    watcher.kill()
    finish(watcher)

    other = submit(training, cluster, learning_rate=1e-4)
    assert "runs this command with other settings; wait or `scancel" in finish(other)
    assert other.returncode == 2

    again = submit(training, cluster)
    assert again.stdout is not None
    assert "is already pending: watching it" in again.stdout.readline()
    cluster.client("scontrol", "update", "PartitionName=test", "State=UP")
    until(lambda: training.states, again)
    cluster.client("scontrol", "requeue", *jobs(cluster))
    output = finish(again)
    assert again.returncode == 0, output
    assert "resuming from" in output
    assert training.results() == undisturbed.results()


def test_a_job_survives_a_killed_process_and_saves_when_its_time_is_nearly_up(
    training: Training, cluster: SlurmCluster, undisturbed: Training
) -> None:
    """SLURM's signal is sent by hand, because its own time limits have a resolution of minutes."""
    watcher = submit(training, cluster)
    until(lambda: training.states, watcher)
    killed = time.time_ns()
    os.kill(trainers(training.folder)[1], signal.SIGKILL)
    until(lambda: training.saved_after(killed) and len(trainers(training.folder)) == 2, watcher)
    cluster.client("scancel", "--batch", "--signal=USR1", *jobs(cluster))
    output = finish(watcher)
    assert watcher.returncode == 0, output
    assert "stopped after step" in output, output
    assert "time is up, back into the queue" in output
    assert output.count("resuming from") == 2, output
    assert training.results() == undisturbed.results()


def test_ending_the_watcher_cancels_the_job(training: Training, cluster: SlurmCluster) -> None:
    watcher = submit(training, cluster)
    until(lambda: training.states, watcher)
    watcher.terminate()
    output = finish(watcher)
    assert watcher.returncode == 128 + signal.SIGTERM
    assert "cancelled" in output
    while cluster.client("squeue", "--noheader").strip():
        time.sleep(0.05)
    assert not trainers(training.folder)
    assert training.states, "the next command resumes from here"


def test_a_job_with_wrong_settings_fails_the_command_and_is_not_repeated(
    training: Training, cluster: SlurmCluster
) -> None:
    """The first process to report the error ends the job; srun may kill the other one before it does."""
    watcher = submit(training, cluster, batch_size=6)
    output = finish(watcher)
    assert watcher.returncode != 0
    assert 1 <= output.count("train.batch_size is 6, which 2 processes") <= 2, output
    assert "ended as FAILED" in output
