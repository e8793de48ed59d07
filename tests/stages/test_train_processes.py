"""Training in several processes started by torchrun gives the same result, whichever of them dies.

With `cluster.timeout_minutes` and the agent's own 30 seconds these tests say how long a failure may last.
"""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.agent import FINAL, STOPPED, WRONG
from panoptic.index import PanopticIndex
from tests.stages.training_runs import PATIENCE, TWO_PROCESSES, Training, listening, trainers, until, write_dataset

pytestmark = pytest.mark.slow

LONG = {"epochs": 20, "save_every": 5}  # 40 steps
FULL = {"sharding": "full"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def alone(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """Short training in one process."""
    training = Training(dataset, tmp_path_factory.mktemp("alone"))
    training.run()
    return training


@pytest.fixture(scope="module")
def undisturbed(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """Undisturbed long training in two processes, started by the stage's own command."""
    training = Training(dataset, tmp_path_factory.mktemp("undisturbed"))
    training.run(TWO_PROCESSES, **LONG)
    return training


@contextmanager
def started(training: Training, cluster: Mapping[str, object], **train: object) -> "Iterator[subprocess.Popen[str]]":
    """Start the processes of a training, and leave none of them behind."""
    with running(training, training.start_command(cluster, **(train or LONG))) as launcher:
        yield launcher


@contextmanager
def running(training: Training, command: list[str], **environment: str) -> "Iterator[subprocess.Popen[str]]":
    launcher = subprocess.Popen(
        command,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield launcher
    finally:
        if launcher.poll() is None:
            os.killpg(launcher.pid, signal.SIGKILL)
        for left in trainers(training.folder):  # each has a session of its own
            os.kill(left, signal.SIGKILL)
        launcher.communicate()


def output_of(launcher: "subprocess.Popen[str]") -> str:
    """Wait for the launcher to finish and return its output."""
    return launcher.communicate(timeout=PATIENCE)[0]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_two_processes_train_like_one_and_listen_on_loopback_only(
    dataset: Path, alone: Training, tmp_path: Path
) -> None:
    """This includes dropout; only the order of sums differs."""
    training = Training(dataset, tmp_path)
    with started(training, TWO_PROCESSES, save_every=1) as launcher:
        until(lambda: training.states, launcher)
        addresses = listening(tmp_path)
        output = output_of(launcher)
    assert launcher.returncode == 0, output
    assert addresses == {"127.0.0.1"}
    assert_alike(training, alone)


def test_four_processes_train_like_one(dataset: Path, alone: Training, tmp_path: Path) -> None:
    training = Training(dataset, tmp_path)
    with started(training, TWO_PROCESSES | {"processes_per_node": 4}, epochs=3) as launcher:
        output = output_of(launcher)
    assert launcher.returncode == 0, output
    assert_alike(training, alone)


def assert_alike(first: Training, second: Training) -> None:
    """Compare trainings that may differ in how often they saved; a row of the loss curve is one step here."""
    for ours, theirs in zip(first.loss_curve(), second.loss_curve(), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    theirs_by_name = second.weights()
    for name, weights in first.weights().items():
        assert float((weights - theirs_by_name[name]).abs().max()) < 1e-4, name


def test_one_process_resumes_from_a_sharded_state(dataset: Path, alone: Training, tmp_path: Path) -> None:
    training = Training(dataset, tmp_path)
    with started(training, TWO_PROCESSES | FULL, save_every=1) as launcher:
        until(lambda: training.states, launcher)
        launcher.terminate()
        output = output_of(launcher)
    assert launcher.returncode == STOPPED, output
    assert "stopped after step" in output
    assert not (tmp_path / "model.safetensors").exists()
    assert "resuming from" in training.run(save_every=1)
    assert_alike(training, alone)


def test_a_killed_process_is_restarted_with_all_others(dataset: Path, undisturbed: Training, tmp_path: Path) -> None:
    training = Training(dataset, tmp_path)
    with started(training, TWO_PROCESSES) as launcher:
        until(lambda: training.states, launcher)
        os.kill(trainers(tmp_path)[1], signal.SIGKILL)
        output = output_of(launcher)
    assert launcher.returncode == 0, output
    assert output.count("resuming from") == 1
    assert training.results() == undisturbed.results()


def test_without_restarts_a_killed_process_ends_the_command(dataset: Path, tmp_path: Path) -> None:
    training = Training(dataset, tmp_path)
    with started(training, TWO_PROCESSES | {"max_restarts": 0}) as launcher:
        until(lambda: training.states, launcher)
        os.kill(trainers(tmp_path)[0], signal.SIGKILL)
        output = output_of(launcher)
    assert launcher.returncode not in (0, *FINAL), output
    assert not trainers(tmp_path)


def test_an_error_that_would_recur_ends_all_processes_at_once(dataset: Path, tmp_path: Path) -> None:
    """Only one of the two processes fails, at the validation; to the other it looks like a lost connection."""
    index = PanopticIndex.load(dataset / "index")
    replace(index, images=tmp_path / "nowhere").save(dataset / "index of nothing")
    training = Training(dataset, tmp_path, val_index="index of nothing")
    with started(training, TWO_PROCESSES, epochs=1) as launcher:
        output = output_of(launcher)
    assert launcher.returncode == WRONG, output
    assert output.count("initial weights:") == 1, output
    assert "resuming from" not in output
    assert f"{tmp_path / 'nowhere'}" in output


def test_a_hanging_process_is_killed_after_the_timeout(dataset: Path, undisturbed: Training, tmp_path: Path) -> None:
    """One process is suspended: the other gives up after six seconds, and half a minute later the agent kills it."""
    training = Training(dataset, tmp_path)
    with started(training, TWO_PROCESSES | {"timeout_minutes": 0.1, "max_restarts": 9}) as launcher:
        until(lambda: training.states, launcher)
        os.kill(trainers(tmp_path)[1], signal.SIGSTOP)
        output = output_of(launcher)
    assert launcher.returncode == 0, output
    assert "resuming from" in output
    assert training.results() == undisturbed.results()


def test_asked_to_stop_it_saves_and_resumes_later(dataset: Path, undisturbed: Training, tmp_path: Path) -> None:
    training = Training(dataset, tmp_path)
    with started(training, TWO_PROCESSES) as launcher:
        until(lambda: training.states, launcher)
        launcher.send_signal(signal.SIGUSR1)
        output = output_of(launcher)
    assert launcher.returncode == STOPPED, output
    assert "stopped after step" in output
    with started(training, TWO_PROCESSES) as launcher:
        assert "resuming from" in output_of(launcher)
    assert training.results() == undisturbed.results()


def test_two_machines_are_two_agents(dataset: Path, undisturbed: Training, tmp_path: Path) -> None:
    """Each runs one command, as by hand; both are this machine."""
    training = Training(dataset, tmp_path)
    settings = {"launcher": "torchrun", "nodes": 2, "rendezvous": f"127.0.0.1:{free_port()}"}
    with started(training, settings) as first, started(training, settings) as second:
        outputs = [output_of(agent) for agent in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outputs
    assert training.results() == undisturbed.results()


def test_two_machines_with_addresses_of_their_own(dataset: Path, undisturbed: Training, tmp_path: Path) -> None:
    """They are network namespaces connected by a cable; neither can reach the other's loopback."""
    with two_hosts() as hosts, ExitStack() as stack:
        if hosts is None:
            pytest.skip("network namespaces cannot be made here: root and `ip netns` are needed")
        training = Training(dataset, tmp_path)
        settings = {"launcher": "torchrun", "nodes": 2, "rendezvous": f"{ADDRESSES[0]}:29400"}
        command = training.start_command(settings, **LONG)
        agents = [
            stack.enter_context(
                running(
                    training,
                    ["ip", "netns", "exec", host, *command],
                    GLOO_SOCKET_IFNAME="cable",
                    PET_LOCAL_ADDR=address,
                )
            )
            for host, address in zip(hosts, ADDRESSES, strict=True)
        ]
        outputs = [output_of(agent) for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], outputs
    assert training.results() == undisturbed.results()


ADDRESSES = ("10.213.7.1", "10.213.7.2")


@contextmanager
def two_hosts() -> Iterator[tuple[str, str] | None]:
    """Make network namespaces that see each other at `ADDRESSES`; yield their names, or None if that fails."""
    hosts = (f"one-{os.getpid()}", f"two-{os.getpid()}")
    cable = ["link", "add", "cable", "netns", hosts[0], "type", "veth", "peer", "name", "cable", "netns", hosts[1]]
    folders = [Path("/etc/netns") / host for host in hosts]
    try:
        made = os.geteuid() == 0 and all(ip("netns", "add", host) for host in hosts) and ip(*cable)
        for host, address in zip(hosts, ADDRESSES, strict=True):
            made = made and ip("-n", host, "addr", "add", f"{address}/24", "dev", "cable")
            made = made and all(ip("-n", host, "link", "set", device, "up") for device in ("lo", "cable"))
        # Each resolves its own name; otherwise every lookup would wait for an unreachable name server.
        for folder, address in zip(folders, ADDRESSES, strict=True) if made else ():
            folder.mkdir(parents=True)
            (folder / "hosts").write_text(f"127.0.0.1 localhost\n{address} {socket.gethostname()}\n")
            (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        yield hosts if made else None
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        for host in hosts:
            ip("netns", "delete", host)


def ip(*arguments: str) -> bool:
    return shutil.which("ip") is not None and not subprocess.run(["ip", *arguments], capture_output=True).returncode
