"""A process that measures ends with the benchmark that started it, even if that is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.stages.training_runs import commands, parent

RUN = """
import sys
from benchmarks.harness.interleave import Worker, run_worker

long = "operator", "--shapes", "mini", "--rounds", "1000000", "--threads", "1", "--out", sys.argv[2]
Worker(*long) if sys.argv[1] == "Worker" else run_worker(*long)
"""


@pytest.mark.parametrize("how", ["run_worker", "Worker"])
def test_a_worker_ends_with_a_killed_benchmark(tmp_path: Path, how: str) -> None:
    (tmp_path / "run.py").write_text(RUN)
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, str(tmp_path / "run.py"), how, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        process.stderr.read(1)  # the worker's progress bar
        (worker,) = [pid for pid, _ in commands() if parent(pid) == process.pid]
        process.kill()
        process.wait()
        deadline = time.monotonic() + 10
        while worker in {pid for pid, _ in commands()}:
            assert time.monotonic() < deadline, "it goes on without the benchmark"
            time.sleep(0.05)
    assert process.returncode == -signal.SIGKILL
