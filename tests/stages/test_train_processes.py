"""Training in several processes that torchrun starts: the same result, whoever dies on the way.

With `cluster.timeout_minutes` and torchrun's own 30 seconds these tests say how long a failure may last.
"""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.stages.training_runs import TWO_PROCESSES, Training, trainers, until, write_dataset

pytestmark = pytest.mark.slow

LONG = {"epochs": 40, "save_every": 10}  # 80 steps
FULL = {"sharding": "full"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def alone(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """The short training in one process."""
    training = Training(dataset, tmp_path_factory.mktemp("alone"))
    training.run()
    return training


@pytest.fixture(scope="module")
def undisturbed(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """The long training in two processes to which nothing happens."""
    training = Training(dataset, tmp_path_factory.mktemp("undisturbed"))
    training.run(TWO_PROCESSES, **LONG)
    return training


@contextmanager
def started(training: Training, cluster: Mapping[str, object], **train: object) -> "Iterator[subprocess.Popen[str]]":
    """The stage's command, running; nothing of it is left afterwards."""
    command = training.command(cluster, **(train or LONG))
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        yield running
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
        for left in trainers(training.folder):  # torchrun gives each a session of its own
            os.kill(left, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    "cluster",
    [TWO_PROCESSES, {"launcher": "torchrun", "processes_per_node": 4}, TWO_PROCESSES | FULL],
    ids=["2", "4", "2 sharded"],
)
def test_any_number_of_processes_trains_alike(
    dataset: Path, alone: Training, tmp_path: Path, cluster: dict[str, object]
) -> None:
    """Dropout included: sums come in another order, and that is all."""
    together = Training(dataset, tmp_path)
    together.run(cluster)
    assert_alike(together, alone)


def assert_alike(first: Training, second: Training) -> None:
    for ours, theirs in zip(first.loss_curve(), second.loss_curve(), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    theirs_by_name = second.weights()
    for name, weights in first.weights().items():
        assert float((weights - theirs_by_name[name]).abs().max()) < 1e-4, name


def test_a_sharded_state_is_gone_on_with_by_one_process(dataset: Path, alone: Training, tmp_path: Path) -> None:
    training = Training(dataset, tmp_path)
    with started(training, TWO_PROCESSES | FULL, save_every=1) as launcher:
        until(lambda: training.states, launcher)
        launcher.terminate()
        output = launcher.communicate(timeout=60)[0]
    assert "stopped after step" in output
    assert not (tmp_path / "model.safetensors").exists()
    assert "going on from" in training.run(save_every=1)
    assert_alike(training, alone)


def test_a_killed_process_is_started_again_with_all_others(
    dataset: Path, undisturbed: Training, tmp_path: Path
) -> None:
    training = Training(dataset, tmp_path)
    with started(training, TWO_PROCESSES) as launcher:
        until(lambda: training.states, launcher)
        os.kill(trainers(tmp_path)[1], signal.SIGKILL)
        output = launcher.communicate(timeout=120)[0]
    assert launcher.returncode == 0, output
    assert output.count("going on from") == 1
    assert training.results() == undisturbed.results()


def test_without_restarts_a_killed_process_ends_the_command(dataset: Path, tmp_path: Path) -> None:
    training = Training(dataset, tmp_path)
    with started(training, TWO_PROCESSES | {"max_restarts": 0}) as launcher:
        until(lambda: training.states, launcher)
        os.kill(trainers(tmp_path)[0], signal.SIGKILL)
        output = launcher.communicate(timeout=60)[0]
    assert launcher.returncode == 1, output
    assert not trainers(tmp_path)


def test_a_process_that_hangs_is_not_waited_for_longer_than_said(
    dataset: Path, undisturbed: Training, tmp_path: Path
) -> None:
    """Stopped, not dead: the other gives up after six seconds, and torchrun kills what does not end."""
    training = Training(dataset, tmp_path)
    with started(training, TWO_PROCESSES | {"timeout_minutes": 0.1}) as launcher:
        until(lambda: training.states, launcher)
        os.kill(trainers(tmp_path)[1], signal.SIGSTOP)
        output = launcher.communicate(timeout=180)[0]
    assert launcher.returncode == 0, output
    assert "going on from" in output
    assert training.results() == undisturbed.results()


def test_told_to_end_it_saves_and_goes_on_later(dataset: Path, undisturbed: Training, tmp_path: Path) -> None:
    training = Training(dataset, tmp_path)
    with started(training, TWO_PROCESSES) as launcher:
        until(lambda: training.states, launcher)
        launcher.send_signal(signal.SIGUSR1)
        output = launcher.communicate(timeout=60)[0]
    assert launcher.returncode not in (0, 2)
    assert "stopped after step" in output
    assert "going on from" in training.run(TWO_PROCESSES, **LONG)
    assert training.results() == undisturbed.results()


def test_two_machines_are_two_agents(dataset: Path, undisturbed: Training, tmp_path: Path) -> None:
    """One command on each, as by hand; here both are this machine."""
    training = Training(dataset, tmp_path)
    settings = {"launcher": "torchrun", "nodes": 2, "rendezvous": f"127.0.0.1:{free_port()}"}
    with started(training, settings) as first, started(training, settings) as second:
        outputs = [agent.communicate(timeout=120)[0] for agent in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outputs
    assert training.results() == undisturbed.results()


def test_two_machines_with_addresses_of_their_own(dataset: Path, undisturbed: Training, tmp_path: Path) -> None:
    """Two network namespaces with a cable between them; neither can reach the other's loopback."""
    with two_hosts() as hosts:
        if hosts is None:
            pytest.skip("network namespaces cannot be made here: root and `ip netns` are needed")
        training = Training(dataset, tmp_path)
        command = training.command({"launcher": "torchrun", "nodes": 2, "rendezvous": f"{ADDRESSES[0]}:29400"}, **LONG)
        agents = [
            subprocess.Popen(
                ["ip", "netns", "exec", host, *command],
                env=os.environ | {"GLOO_SOCKET_IFNAME": "cable", "PET_LOCAL_ADDR": address},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for host, address in zip(hosts, ADDRESSES, strict=True)
        ]
        outputs = [agent.communicate(timeout=120)[0] for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], outputs
    assert training.results() == undisturbed.results()


ADDRESSES = ("10.213.7.1", "10.213.7.2")


@contextmanager
def two_hosts() -> Iterator[tuple[str, str] | None]:
    """Names of two network namespaces that see each other at `ADDRESSES`; None where they cannot be made."""
    hosts = (f"one-{os.getpid()}", f"two-{os.getpid()}")
    cable = ["link", "add", "cable", "netns", hosts[0], "type", "veth", "peer", "name", "cable", "netns", hosts[1]]
    folders = [Path("/etc/netns") / host for host in hosts]
    try:
        made = os.geteuid() == 0 and all(ip("netns", "add", host) for host in hosts) and ip(*cable)
        for host, address in zip(hosts, ADDRESSES, strict=True):
            made = made and ip("-n", host, "addr", "add", f"{address}/24", "dev", "cable")
            made = made and all(ip("-n", host, "link", "set", device, "up") for device in ("lo", "cable"))
        # Each knows its own name: else every look-up waits for a name server that is out of reach.
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
