"""Shares on the machines of a Dask scheduler: a real one, and workers that each have a folder as their machine.

The machines share what a network file system would hold: `runs` and what earlier stages have made.
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
from pipelines.executors.dask_executor import dask_machines
from pipelines.executors.executor import Program
from pipelines.executors.file_sync import look, wait_for
from pipelines.process.run import CommandError
from pipelines.robustness import robustness
from tests.pipelines.conftest import HOLD

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks at processes in /proc, as in Linux")

# As stages.robustness: what is measured is kept, one file a variant. With the file `hold` there, the share that comes
# to variant 2 notes where it runs, and waits to be killed; whoever comes to it next finds that it must not wait.
PROGRAM = """
import os, pathlib, sys, time
state = pathlib.Path("runs/state/robustness-1")
state.mkdir(parents=True, exist_ok=True)
number, of = map(int, sys.argv[-1].split("/")) if "--share" in sys.argv else (1, 1)
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
if "--share" not in sys.argv:
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
    """A scheduler, its address, and its workers by the names of their folders."""

    scheduler: subprocess.Popen[str]
    address: str
    workers: dict[str, subprocess.Popen[str]]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / "program.py").write_text(PROGRAM)
    (folder / "seed").write_text("weights\n")
    (folder / "runs").mkdir()
    return folder


@pytest.fixture
def cluster(checkout: Path) -> Iterator[Cluster]:
    """Two machines, and a scheduler that is told apart from other tests' by a port of its own."""
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
    """What a process says first that fits."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if found := re.search(pattern, line):
            # What it says later must not fill the pipe.
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return found[1]
    raise AssertionError(f"it ended without the expected word:\n{said}")


@pytest.mark.slow
@pytest.mark.usefixtures("prefect")
def test_a_killed_machine_changes_nothing_in_the_result(checkout: Path, cluster: Cluster) -> None:
    (checkout / "runs" / "hold").touch()
    listening: set[str] = set()
    killed: list[int] = []

    def kill() -> None:
        """As soon as one of the shares is in the middle of its work."""
        where = checkout / "runs" / "where"
        while not where.exists() or not where.read_text():
            time.sleep(0.05)
        process, machine = where.read_text().split()
        listening.update(open_addresses())
        cluster.workers[machine].kill()
        killed.append(int(process))

    killer = threading.Thread(target=kill)
    killer.start()
    robustness(jobs=2, scheduler=cluster.address, folder=checkout)
    killer.join()
    assert listening == {"0100007F"}, "127.0.0.1"
    assert killed[0] not in parents(), "the share on the killed machine"
    assert (checkout / "runs" / "held").exists()
    assert sorted((checkout / "runs" / "measured").read_text().split()) == list("01234567"), "each once"

    alone = checkout.with_name("alone")
    (alone / "runs").mkdir(parents=True)
    shutil.copy(checkout / "seed", alone / "weights")
    subprocess.run([sys.executable, checkout / "program.py"], cwd=alone, check=True)
    assert (checkout / "result").read_bytes() == (alone / "result").read_bytes()
    assert not {worker.pid for worker in cluster.workers.values()} & set(parents().values()), "nothing is left"


@pytest.mark.slow
@pytest.mark.usefixtures("prefect")
def test_a_share_that_fails_elsewhere_says_why_and_keeps_the_rest(checkout: Path, cluster: Cluster) -> None:
    (checkout / "runs" / "broken").touch()
    with pytest.raises(CommandError, match="robustness share 2 of 2 failed") as failure:
        robustness(jobs=2, scheduler=cluster.address, folder=checkout)
    log = checkout / "runs" / "logs" / "robustness-share-2-of-2.log"
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
    ("gone", "said"),
    [("flow", "given up"), ("scheduler", "the Dask scheduler is gone"), ("workers", "1 workers died with it")],
)
def test_a_program_ends_when_nobody_waits_for_it(checkout: Path, cluster: Cluster, gone: str, said: str) -> None:
    (checkout / "runs" / "hold.py").write_text(HOLD.replace('"lock"', '"runs/lock"'))
    lines: list[str] = []
    failures: list[CommandError] = []
    with dask_machines(cluster.address, checkout) as machines:

        def work() -> None:
            try:
                machines.run(Program("hold", (sys.executable, "runs/hold.py"), 0), lambda line: lines.append(line.text))
            except CommandError as error:
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        while "holding" not in lines:
            time.sleep(0.05)
        if gone == "flow":
            machines.stop()
        for process in {"scheduler": [cluster.scheduler], "workers": [*cluster.workers.values()]}.get(gone, []):
            process.kill()
        thread.join()
    assert said in str(failures[0])
    with (checkout / "runs" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # waits until the last process that holds it is gone


def test_without_a_scheduler_the_address_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pipelines.executors.dask_executor.CONNECT_SECONDS", 0.2)
    with (
        pytest.raises(ValueError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1 "),
        dask_machines("tcp://127.0.0.1:1", tmp_path),
    ):
        pass


def test_a_scheduler_without_workers_is_refused(tmp_path: Path) -> None:
    with started("scheduler", "--port", "0", folder=tmp_path) as scheduler:
        address = first(r"Scheduler at: *(tcp://\S+)", scheduler)
        with pytest.raises(ValueError, match="has no workers"), dask_machines(address, tmp_path):
            pass


def test_files_come_into_sight(tmp_path: Path) -> None:
    written, seen = tmp_path / "written", tmp_path / "seen"
    for name in ("runs/state/a-1/x", "runs/state/a-1/.y.7.partial", "runs/state/b-1/z"):
        (written / name).parent.mkdir(parents=True, exist_ok=True)
        (written / name).write_text(name)
    expected = look(written, ["runs/state/a-*"])
    assert list(expected) == ["runs/state/a-1/x"]
    assert wait_for(seen, expected, seconds=0) == ("runs/state/a-1/x",)
    mover = threading.Thread(target=shutil.copytree, args=(written, seen))
    mover.start()
    assert wait_for(seen, expected, seconds=60) == ()
    mover.join()
    (seen / "runs/state/a-1/x").write_text("what was there before")
    assert wait_for(seen, expected, seconds=0) == ("runs/state/a-1/x",)


def parents() -> dict[int, int]:
    """The parent of every process of this machine."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            found[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    return found


def open_addresses() -> set[str]:
    """The addresses, as the kernel writes them, where this program and all that it has started accept connections."""
    known, mine, waiting = parents(), set[int](), {os.getpid()}
    while waiting:
        mine |= waiting
        waiting = {process for process, parent in known.items() if parent in waiting}
    sockets = set()
    for file in (file for process in mine for file in Path(f"/proc/{process}/fd").glob("*")):
        with suppress(OSError):
            sockets.add(str(file.readlink()))
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return {row[1].split(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}
