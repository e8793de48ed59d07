"""Which exit statuses end a run, and which environment the processes get."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.agent import ENDS_WITH, FINAL, LOST, STOPPED, WRONG, status_of
from model.training import failures
from model.training.distributed import stopping
from panoptic.runtime import cli
from tests.stages.training_runs import left

# The first of two processes records its start, then exits as instructed; after a restart it exits with 0.
PROGRAM = """
import os, pathlib, sys
if os.environ["RANK"] == "1":
    sys.exit(0)
with pathlib.Path(sys.argv[1]).open("a") as starts:
    print(os.environ["MASTER_ADDR"], os.environ["GLOO_SOCKET_IFNAME"], file=starts)
if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), 9)
    sys.exit(int(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("status", "starts", "ends"),
    [("killed", 2, 0), ("1", 2, 0), (str(WRONG), 1, WRONG), (str(STOPPED), 1, STOPPED), ("70", 1, 70), ("130", 1, 130)],
    ids=["killed", "lost the others", "wrong input", "asked to stop", "bug", "Ctrl-C"],
)
def test_only_processes_that_were_killed_or_lost_the_others_are_restarted(
    tmp_path: Path, status: str, starts: int, ends: int
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "cluster.agent", '{"launcher": "torchrun", "processes_per_node": 2}', "", "run"]
    paths = {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), str(tmp_path)])}
    ended = subprocess.run([*command, "program", str(tmp_path / "starts"), status], env=os.environ | paths)
    assert ended.returncode == ends
    assert (tmp_path / "starts").read_text().splitlines() == ["127.0.0.1 lo"] * starts


def test_no_temporary_file_is_left(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "cluster.agent", '{"launcher": "torchrun"}', "", "run", "this"]
    told = os.environ | {"TMPDIR": str(temporary)}
    shown = subprocess.run(command, env=told, capture_output=True, text=True, check=True)
    assert "Namespaces are one honking great idea" in shown.stdout, "output is passed on"
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("statuses", "status"),
    [([], 0), ([0, 0], 0), ([0, -9], 137), ([-15, 1], 1), ([1, 75], 75), ([1, -15, 2], 2)],
)
def test_statuses_are_combined_into_one(statuses: list[int], status: int) -> None:
    assert status_of(statuses) == status


def test_the_agent_and_the_training_know_the_same_statuses_and_variable() -> None:
    assert (stopping.STOPPED, failures.LOST, cli.ENDS_WITH) == (STOPPED, LOST, ENDS_WITH)
    assert {stopping.STOPPED, stopping.INTERRUPTED, failures.BUG, 128 + signal.SIGTERM} < set(FINAL)
    assert LOST not in FINAL


# The first process is killed once, while the second works; the agent then ends that one by SIGTERM.
BESIDE_WORK = """
import os, pathlib, sys, time
from panoptic.runtime.cli import run_command
started = pathlib.Path(sys.argv[1], "second started")
def work():
    if os.environ["TORCHELASTIC_RESTART_COUNT"] != "0":
        return
    if os.environ["RANK"] == "1":
        started.touch()
        time.sleep(600)
    while not started.exists():
        time.sleep(0.1)
    os.kill(os.getpid(), 9)
run_command(work)
"""


@pytest.mark.parametrize(("restarts", "status"), [(0, 128 + signal.SIGKILL), (1, 0)])
def test_a_killed_process_counts_not_the_one_ended_for_its_sake(tmp_path: Path, restarts: int, status: int) -> None:
    (tmp_path / "program.py").write_text(BESIDE_WORK)
    settings = f'{{"launcher": "torchrun", "processes_per_node": 2, "max_restarts": {restarts}}}'
    command = [sys.executable, "-m", "cluster.agent", settings, "", "run", "program", str(tmp_path)]
    paths = {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), str(tmp_path)])}
    ended = subprocess.run(command, env=os.environ | paths, capture_output=True, text=True, timeout=120)
    assert ended.returncode == status, ended.stderr


# Both processes say who they are, then work for long. The second one has begun when its agent was gone already.
LONG = """
import os, pathlib, sys, time
from panoptic.runtime.cli import run_command
file = pathlib.Path(sys.argv[1], os.environ["RANK"])
file.write_text(str(os.getpid()))
if os.environ["RANK"] == "1":
    time.sleep(2)
run_command(lambda: time.sleep(600))
"""


def test_processes_end_with_their_agent_even_if_it_is_killed(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(LONG)
    settings = '{"launcher": "torchrun", "processes_per_node": 2}'
    command = [sys.executable, "-m", "cluster", settings, "params.yaml", str(tmp_path), "program", str(tmp_path)]
    paths = {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), str(tmp_path)])}
    with subprocess.Popen(command, env=os.environ | paths, stderr=subprocess.DEVNULL) as agent:
        while not all((tmp_path / rank).exists() and (tmp_path / rank).read_text() for rank in "01"):
            assert agent.poll() is None
            time.sleep(0.05)
        agent.kill()
    assert not left(tmp_path)
