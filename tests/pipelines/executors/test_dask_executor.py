"""Shards on the machines of a real Dask scheduler, whose workers each treat a folder as their machine.

The folders share what a network file system would hold: `runs` and the outputs of earlier stages.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.executors.dask_cluster import dask_command
from pipelines.executors.dask_executor import dask_executor
from pipelines.executors.executor import Program
from pipelines.executors.file_sync import take_snapshot, wait_for
from pipelines.process.session import CommandError
from pipelines.robustness import robustness
from tests.pipelines.conftest import HOLD
from tests.pipelines.services import open_addresses, write_dvc_project

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks at processes in /proc, as in Linux")

# Like stages.robustness: each measured variant is kept in a file. If there is a file `hold`, the shard that reaches
# variant 2 records where it runs and waits to be killed; the next one to reach it does not wait.
PROGRAM = """
import os, pathlib, sys, time
state = pathlib.Path("runs/state/robustness-1")
state.mkdir(parents=True, exist_ok=True)
number, of = map(int, sys.argv[-1].split("/")) if "--shard" in sys.argv else (1, 1)
for variant in range(number - 1, 8, of):
    kept = state / f"{variant}.json"
    if kept.exists():
        continue
    if variant == 5 and pathlib.Path("runs/broken").exists():
        sys.exit("variant 5 has no memory")
    if variant == 2 and pathlib.Path("runs/hold").exists():
        pathlib.Path("runs/hold").rename("runs/held")
        pathlib.Path("runs/where").write_text(f"{os.getpid()} {pathlib.Path.cwd().name}")
        time.sleep(600)
    with open("runs/measured", "a") as log:
        print(variant, file=log)
    partial = state / f".{variant}.{os.getpid()}.partial"
    partial.write_text(f"{variant} with " + pathlib.Path("weights").read_text())
    partial.rename(kept)
if "--shard" not in sys.argv:
    pathlib.Path("result").write_text("".join(path.read_text() for path in sorted(state.glob("*.json"))))
"""
DVC_YAML = f"""
stages:
  weights:
    cmd: cp seed weights
    deps: [seed]
    outs: [weights]
  robustness:
    cmd: {sys.executable} program.py --state runs/state
    deps: [weights]
    outs: [result]
"""


@dataclass(frozen=True)
class Cluster:
    """A scheduler, its address, and its workers by folder name."""

    scheduler: subprocess.Popen[str]
    address: str
    workers: dict[str, subprocess.Popen[str]]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    write_dvc_project(folder, DVC_YAML)
    (folder / "program.py").write_text(PROGRAM)
    (folder / "seed").write_text("weights\n")
    (folder / "runs").mkdir()
    return folder


@pytest.fixture
def cluster(checkout: Path) -> Iterator[Cluster]:
    """Two machines, and a scheduler on its own port."""
    with started("scheduler", "--port", "0", folder=checkout.parent) as scheduler:
        address = first(r"Scheduler at: *(tcp://\S+)", scheduler)
        folders = [checkout.parent / f"machine-{number}" for number in (1, 2)]
        for folder in folders:
            folder.mkdir()
            for name in ("dvc.yaml", "program.py", "weights", "runs"):
                (folder / name).symlink_to(checkout / name)
        options = ("worker", address, "--no-nanny")
        with started(*options, folder=folders[0]) as one, started(*options, folder=folders[1]) as two:
            for worker in (one, two):
                first(r"Registered to: *(\S+)", worker)
            yield Cluster(scheduler, address, {"machine-1": one, "machine-2": two})


@contextmanager
def started(role: str, *options: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        dask_command(role, options), cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def first(pattern: str, process: subprocess.Popen[str]) -> str:
    """Return the first match in a process's output."""
    assert process.stderr is not None
    output = ""
    for line in process.stderr:
        output += line
        if found := re.search(pattern, line):
            # Later output must not fill the pipe.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return found[1]
    raise AssertionError(f"it ended without the expected output:\n{output}")


@pytest.mark.slow
@pytest.mark.usefixtures("prefect")
def test_a_killed_machine_changes_nothing_in_the_result(checkout: Path, cluster: Cluster) -> None:
    (checkout / "runs" / "hold").touch()
    listening: set[str] = set()
    killed: list[int] = []

    def kill() -> None:
        """Kill a worker as soon as its shard is in the middle of its work."""
        where = checkout / "runs" / "where"
        while not where.exists() or not where.read_text():
            time.sleep(0.05)
        process, machine = where.read_text().split()
        listening.update(open_addresses(descendants()))
        cluster.workers[machine].kill()
        killed.append(int(process))

    killer = threading.Thread(target=kill)
    killer.start()
    robustness(jobs=2, scheduler=cluster.address, folder=checkout)
    killer.join()
    assert listening == {"0100007F"}
    assert killed[0] not in parents(), "the shard on the killed machine has ended"
    assert (checkout / "runs" / "held").exists()
    assert sorted((checkout / "runs" / "measured").read_text().split()) == list("01234567"), "each once"

    alone = checkout.with_name("alone")
    (alone / "runs").mkdir(parents=True)
    shutil.copy(checkout / "seed", alone / "weights")
    subprocess.run([sys.executable, checkout / "program.py"], cwd=alone, check=True)
    assert (checkout / "result").read_bytes() == (alone / "result").read_bytes()
    assert not {worker.pid for worker in cluster.workers.values()} & set(parents().values()), "no process is left"


@pytest.mark.slow
@pytest.mark.usefixtures("prefect")
def test_a_shard_that_fails_on_a_worker_is_reported_and_the_others_are_kept(checkout: Path, cluster: Cluster) -> None:
    (checkout / "runs" / "broken").touch()
    with pytest.raises(CommandError, match="robustness shard 2 of 2 failed") as failure:
        robustness(jobs=2, scheduler=cluster.address, folder=checkout)
    log = checkout / "runs" / "logs" / "robustness-shard-2-of-2.log"
    assert str(log) in str(failure.value)
    assert "variant 5 has no memory" in str(failure.value)
    assert "variant 5 has no memory" in log.read_text()
    assert "machine-" in log.read_text().splitlines()[0]
    state = checkout / "runs" / "state" / "robustness-1"
    assert sorted(path.stem for path in state.iterdir()) == ["0", "1", "2", "3", "4", "6"]
    assert not (checkout / "result").exists()


@pytest.fixture
def _no_second_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")


@pytest.mark.slow
@pytest.mark.usefixtures("_no_second_start")
@pytest.mark.parametrize(
    ("gone", "message"),
    [("flow", "given up"), ("scheduler", "the Dask scheduler is gone"), ("workers", "1 workers died running it")],
)
def test_a_program_ends_when_nobody_waits_for_it(checkout: Path, cluster: Cluster, gone: str, message: str) -> None:
    (checkout / "runs" / "hold.py").write_text(HOLD.replace('"lock"', '"runs/lock"'))
    lines: list[str] = []
    failures: list[CommandError] = []
    with dask_executor(cluster.address, checkout) as executor:

        def work() -> None:
            try:
                executor.run(Program("hold", (sys.executable, "runs/hold.py"), 0), lambda line: lines.append(line.text))
            except CommandError as error:
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        while "holding" not in lines:
            time.sleep(0.05)
        if gone == "flow":
            executor.stop()
        for process in {"scheduler": [cluster.scheduler], "workers": [*cluster.workers.values()]}.get(gone, []):
            process.kill()
        thread.join()
    assert message in str(failures[0])
    with (checkout / "runs" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # waits until the last process that holds it is gone


def test_a_missing_scheduler_is_reported_with_its_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pipelines.executors.dask_executor.CONNECT_SECONDS", 0.2)
    with (
        pytest.raises(ValueError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1 "),
        dask_executor("tcp://127.0.0.1:1", tmp_path),
    ):
        pass


def test_a_scheduler_without_workers_is_refused(tmp_path: Path) -> None:
    with started("scheduler", "--port", "0", folder=tmp_path) as scheduler:
        address = first(r"Scheduler at: *(tcp://\S+)", scheduler)
        with pytest.raises(ValueError, match="has no workers"), dask_executor(address, tmp_path):
            pass


def test_waiting_for_files_to_become_visible(tmp_path: Path) -> None:
    written, seen = tmp_path / "written", tmp_path / "seen"
    for name in ("runs/state/a-1/x", "runs/state/a-1/.y.7.partial", "runs/state/b-1/z"):
        (written / name).parent.mkdir(parents=True, exist_ok=True)
        (written / name).write_text(name)
    expected = take_snapshot(written, ["runs/state/a-*"])
    assert list(expected) == ["runs/state/a-1/x"]
    assert wait_for(seen, expected, seconds=0) == ("runs/state/a-1/x",)
    mover = threading.Thread(target=shutil.copytree, args=(written, seen))
    mover.start()
    assert wait_for(seen, expected, seconds=60) == ()
    mover.join()
    (seen / "runs/state/a-1/x").write_text("an earlier version")
    assert wait_for(seen, expected, seconds=0) == ("runs/state/a-1/x",)


def parents() -> dict[int, int]:
    """Return the parent of every process on this machine."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            found[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    return found


def descendants() -> set[int]:
    """Return this process and all processes that it started."""
    known, found, waiting = parents(), set[int](), {os.getpid()}
    while waiting:
        found |= waiting
        waiting = {process for process, parent in known.items() if parent in waiting}
    return found
