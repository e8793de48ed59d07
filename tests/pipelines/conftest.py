"""A tiny DVC project with real stages, and a way to see whether a process of one still lives."""

import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prefect.testing.utilities import prefect_test_harness

# Holds a lock as long as it or the process that it starts lives, and would go on for ten minutes.
HOLD = """
import fcntl, subprocess, sys, time
lock = open("lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[lock.fileno()])
print("holding", flush=True)
time.sleep(600)
"""

SCORE = """
from pathlib import Path
Path("metrics.json").write_text('{"pq": {"all": 0.5, "note": "a text"}}')
Path("plot.png").write_bytes(b"a picture")
"""

DVC_YAML = """
stages:
  zero:
    cmd: echo text of zero && echo zero >> ran && cp params.yaml first
    params: [zero]
    outs: [first]
  middle:
    cmd: echo text of middle && echo middle >> ran && cp first second
    deps: [first]
    outs: [second]
  alpha:
    cmd: echo text of alpha && echo alpha >> ran && cp second third
    deps: [second]
    outs: [third]
  broken:
    cmd: echo the disk is on fire && exit 3
    deps: [first]
    outs: [never]
  after_broken:
    cmd: echo after_broken >> ran
    deps: [never]
  scored:
    cmd: python score.py
    deps: [score.py]
    outs: [plot.png]
    metrics: [metrics.json]
  hold:
    cmd: python hold.py
    deps: [hold.py]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder of a DVC project without git: three stages in a row, and some that end in other ways."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(
        "[core]\n    no_scm = true\n    analytics = false\n    check_update = false\n"
    )
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "params.yaml").write_text("zero:\n  rate: 0.5  # a comment to keep\n  name: x\n")
    (tmp_path / "hold.py").write_text(HOLD)
    (tmp_path / "score.py").write_text(SCORE)
    return tmp_path


@pytest.fixture
def nobody_holds(tmp_path: Path) -> Callable[[], bool]:
    """Whether every process that took the lock of `HOLD` is gone; asks only when there was one."""

    def check() -> bool:
        with (tmp_path / "lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    return check


@pytest.fixture(scope="package")
def prefect() -> Iterator[None]:
    """A Prefect server for these tests alone, with a database of its own."""
    with prefect_test_harness(server_startup_timeout=120):
        yield
