"""A server stops with the program that started it, however that program ends."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pipelines.browse.processes import server_running
from tests.pipelines.conftest import HOLD


def test_a_server_ends_with_the_block(tmp_path: Path, nobody_holds: Callable[[], bool]) -> None:
    command = [sys.executable, "-u", "-c", HOLD]
    with server_running(command, os.environ, subprocess.PIPE, subprocess.DEVNULL, tmp_path) as process:
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == b"holding\n"
        assert not nobody_holds()
    assert nobody_holds()


def test_a_server_does_not_outlive_a_killed_program(tmp_path: Path) -> None:
    program = f"""
import os, subprocess, sys
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from pipelines.browse.processes import server_running
command = [sys.executable, "-u", "-c", {HOLD!r}]
with server_running(command, os.environ, subprocess.PIPE, subprocess.DEVNULL) as process:
    process.stdout.readline()
    os.kill(os.getpid(), 9)
"""
    killed = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False)
    assert killed.returncode == -signal.SIGKILL
    with (tmp_path / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # waits until the last process that holds it is gone
