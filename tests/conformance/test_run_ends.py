"""A run of the conformance cases that is ended leaves no process and no files."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.stages.training_runs import commands, parent


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_and_its_tool(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "conformance.run", "--peer", "panoptic-pipeline"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while not (tools := [pid for pid, _ in commands() if parent(pid) == process.pid]):
            assert process.poll() is None
            time.sleep(0.02)
        while not list(tmp_path.glob("*/*")):  # the tool's own temporary folder
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        said = process.communicate(timeout=10)[1]
    assert (process.returncode, said) == (128 + number, f"ended by {number.name}; run the same command again\n")
    assert not {pid for pid, _ in commands()} & {*tools}
    assert not list(tmp_path.iterdir())
