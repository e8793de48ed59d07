"""Training in several processes that torchrun starts: the same result, whoever dies on the way.

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
    """The short training in one process."""
    training = Training(dataset, tmp_path_factory.mktemp("alone"))
    training.run()
    return training


@pytest.fixture(scope="module")
def undisturbed(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Training:
    """The long training in two processes to which nothing happens, by the stage's own command."""
    training = Training(dataset, tmp_path_factory.mktemp("undisturbed"))
    training.run(TWO_PROCESSES, **LONG)
    return training


@contextmanager
def started(training: Training, cluster: Mapping[str, object], **train: object) -> "Iterator[subprocess.Popen[str]]":
    """The processes, running; nothing of them is left afterwards."""
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
    """What it has printed when it has ended."""
    return launcher.communicate(timeout=PATIENCE)[0]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_two_processes_train_as_one_does_and_talk_on_this_machine_alone(
    dataset: Path, alone: Training, tmp_path: Path
) -> None:
    """Dropout included: sums come in another order, and that is all."""
    training = Training(dataset, tmp_path)
    with started(training, TWO_PROCESSES, save_every=1) as launcher:
        until(lambda: training.states, launcher)
        addresses = listening(tmp_path)
        output = output_of(launcher)
    assert launcher.returncode == 0, output
    assert addresses == {"127.0.0.1"}
    assert_alike(training, alone)


def test_four_processes_train_as_one_does(dataset: Path, alone: Training, tmp_path: Path) -> None:
    training = Training(dataset, tmp_path)
    with started(training, TWO_PROCESSES | {"processes_per_node": 4}, epochs=3) as launcher:
        output = output_of(launcher)
    assert launcher.returncode == 0, output
    assert_alike(training, alone)


def assert_alike(first: Training, second: Training) -> None:
    """But for how often they saved: a row of the loss curve is one step here."""
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
        output = output_of(launcher)
    assert launcher.returncode == STOPPED, output
    assert "stopped after step" in output
    assert not (tmp_path / "model.safetensors").exists()
    assert "resuming from" in training.run(save_every=1)
    assert_alike(training, alone)


def test_a_killed_process_is_started_again_with_all_others(
    dataset: Path, undisturbed: Training, tmp_path: Path
) -> None:
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


def test_an_error_that_would_come_again_ends_all_at_once(dataset: Path, tmp_path: Path) -> None:
    """Only one of the two processes has it, at the validation; to the other it looks like a lost connection."""
    index = PanopticIndex.load(dataset / "index")
    replace(index, images=tmp_path / "nowhere").save(dataset / "index of nothing")
    training = Training(dataset, tmp_path, val_index="index of nothing")
    with started(training, TWO_PROCESSES, epochs=1) as launcher:
        output = output_of(launcher)
    assert launcher.returncode == WRONG, output
    assert output.count("initial weights:") == 1, output
    assert "resuming from" not in output
    assert f"{tmp_path / 'nowhere'}" in output


def test_a_process_that_hangs_is_not_waited_for_longer_than_said(
    dataset: Path, undisturbed: Training, tmp_path: Path
) -> None:
    """Stopped, not dead: the other gives up after six seconds, and what does not end is killed half a minute later."""
    training = Training(dataset, tmp_path)
    with started(training, TWO_PROCESSES | {"timeout_minutes": 0.1, "max_restarts": 9}) as launcher:
        until(lambda: training.states, launcher)
        os.kill(trainers(tmp_path)[1], signal.SIGSTOP)
        output = output_of(launcher)
    assert launcher.returncode == 0, output
    assert "resuming from" in output
    assert training.results() == undisturbed.results()


def test_told_to_end_it_saves_and_goes_on_later(dataset: Path, undisturbed: Training, tmp_path: Path) -> None:
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
    """One command on each, as by hand. Both are this machine."""
    training = Training(dataset, tmp_path)
    settings = {"launcher": "torchrun", "nodes": 2, "rendezvous": f"127.0.0.1:{free_port()}"}
    with started(training, settings) as first, started(training, settings) as second:
        outputs = [output_of(agent) for agent in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outputs
    assert training.results() == undisturbed.results()


def test_two_machines_with_addresses_of_their_own(dataset: Path, undisturbed: Training, tmp_path: Path) -> None:
    """Two network namespaces with a cable between them; neither can reach the other's loopback."""
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
