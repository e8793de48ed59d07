"""Training as a job of a real SLURM: submitted, watched, requeued, out of time, cancelled. Needs root and slurm-wlm."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.slurm_cluster import SlurmCluster, slurm_cluster, why_not
from tests.stages.training_runs import Training, trainers, until, write_dataset

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]

TWO_NODES = {"launcher": "slurm", "nodes": 2, "cpus_per_process": 1, "time": "10"}
LONG = {"epochs": 40, "save_every": 10}  # 80 steps


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    with slurm_cluster() as running:
        yield running


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def undisturbed(dataset: Path, cluster: SlurmCluster, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """The long training as a job that nothing happens to."""
    training = Training(dataset, tmp_path_factory.mktemp("undisturbed"))
    watcher = submit(training, cluster, TWO_NODES)
    output = finish(watcher)
    assert watcher.returncode == 0, output
    assert "80/80" in output, "the job's output is passed on"
    return training


def submit(training: Training, cluster: SlurmCluster, settings: Mapping[str, object]) -> "subprocess.Popen[str]":
    """Give the stage's command; it submits the job and watches it."""
    command = training.command(settings, **LONG)
    return subprocess.Popen(
        command, env=cluster.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(watcher: "subprocess.Popen[str]") -> str:
    output, _ = watcher.communicate(timeout=300)
    return output


def job_number(cluster: SlurmCluster) -> str:
    return cluster.client("squeue", "--noheader", "--format=%i").split()[0]


def test_a_requeued_job_ends_with_the_same_bytes(
    dataset: Path, cluster: SlurmCluster, undisturbed: Training, tmp_path: Path
) -> None:
    training = Training(dataset, tmp_path)
    watcher = submit(training, cluster, TWO_NODES)
    until(lambda: training.states, watcher)
    cluster.client("scontrol", "requeue", job_number(cluster))
    output = finish(watcher)
    assert watcher.returncode == 0, output
    assert "going on from" in output
    assert training.results() == undisturbed.results()


def test_a_job_whose_time_is_nearly_up_saves_and_goes_back_into_the_queue(
    dataset: Path, cluster: SlurmCluster, undisturbed: Training, tmp_path: Path
) -> None:
    """SLURM's notice is sent by hand: its own clock counts in minutes."""
    training = Training(dataset, tmp_path)
    watcher = submit(training, cluster, TWO_NODES)
    until(lambda: training.states, watcher)
    cluster.client("scancel", "--batch", "--signal=USR1", job_number(cluster))
    output = finish(watcher)
    assert watcher.returncode == 0, output
    assert "time is up, back into the queue" in output
    assert "stopped after step" in output
    assert training.results() == undisturbed.results()


def test_a_process_that_dies_without_notice_is_started_again(
    dataset: Path, cluster: SlurmCluster, undisturbed: Training, tmp_path: Path
) -> None:
    training = Training(dataset, tmp_path)
    watcher = submit(training, cluster, TWO_NODES)
    until(lambda: training.states, watcher)
    os.kill(trainers(tmp_path)[1], signal.SIGKILL)
    output = finish(watcher)
    assert watcher.returncode == 0, output
    assert "going on from" in output
    assert training.results() == undisturbed.results()


def test_ending_the_watcher_cancels_the_job(dataset: Path, cluster: SlurmCluster, tmp_path: Path) -> None:
    training = Training(dataset, tmp_path)
    watcher = submit(training, cluster, TWO_NODES)
    until(lambda: training.states, watcher)
    watcher.terminate()
    output = finish(watcher)
    assert watcher.returncode == 128 + signal.SIGTERM
    assert "cancelled" in output
    while cluster.client("squeue", "--noheader").strip():
        time.sleep(0.05)
    assert not trainers(tmp_path)
    assert training.states, "the next command goes on from here"


def test_a_watcher_that_was_killed_finds_its_job_again(
    dataset: Path, cluster: SlurmCluster, undisturbed: Training, tmp_path: Path
) -> None:
    cluster.client("scontrol", "update", "PartitionName=test", "State=DOWN")  # so that the job waits
    training = Training(dataset, tmp_path)
    watcher = submit(training, cluster, TWO_NODES)
    until(lambda: cluster.client("squeue", "--noheader").strip(), watcher)
    watcher.kill()
    finish(watcher)
    other = subprocess.run(
        training.command(TWO_NODES, **LONG | {"learning_rate": 1e-4}),
        env=cluster.environment,
        capture_output=True,
        text=True,
    )
    assert other.returncode == 2
    assert "does the same with other settings; wait for it or `scancel" in other.stderr
    again = submit(training, cluster, TWO_NODES)
    assert again.stdout is not None
    assert "is pending already: going on with it" in again.stdout.readline()
    cluster.client("scontrol", "update", "PartitionName=test", "State=UP")
    output = finish(again)
    assert again.returncode == 0, output
    assert training.results() == undisturbed.results()


def test_a_job_that_fails_fails_the_command(dataset: Path, cluster: SlurmCluster, tmp_path: Path) -> None:
    training = Training(dataset, tmp_path)
    command = training.command(TWO_NODES | {"max_restarts": 0}, batch_size=3)
    ended = subprocess.run(command, env=cluster.environment, capture_output=True, text=True)
    assert ended.returncode not in (0, 2)
    assert "train.batch_size is 3, which 2 processes" in ended.stdout
    assert "ended as FAILED" in ended.stderr
