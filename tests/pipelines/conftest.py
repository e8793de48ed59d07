"""A tiny DVC project with real stages, and a way to tell whether any of their processes is still alive."""

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prefect.testing.utilities import prefect_test_harness

from tests.pipelines.services import ROOT, Service, prefect_server, write_dvc_project
from tests.pipelines.tiny_sweep import write_checkout


def _forget_services_of_prefect() -> None:
    calls = vars(threading)["_threading_atexits"]
    calls[:] = [call for call in calls if not call.func.__module__.startswith("prefect.")]


# Prefect 3.8 asks its services at the exit of every process, also of one that was forked beside them and has none:
# loader processes of later tests would end with status 1.
os.register_at_fork(after_in_child=_forget_services_of_prefect)

# Holds a lock as long as it or its child process lives, and would run for ten minutes.
HOLD = """
import fcntl, subprocess, sys, time
lock = open("lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], pass_fds=[lock.fileno()])
print("holding", flush=True)
time.sleep(600)
"""

# Counts to three and keeps its state; if there is a file `wait`, it hangs at two.
COUNT = """
from pathlib import Path
state = Path("state")
counted = int(state.read_text()) if state.exists() else 0
while counted < 3:
    if counted == 2 and Path("wait").exists():
        exec(Path("hold.py").read_text())
    counted += 1
    print("counted", counted, flush=True)
    state.write_text(str(counted))
Path("counted").write_text(str(counted))
state.unlink()
"""

SCORE = """
import sys
from pathlib import Path
from PIL import Image
Path("metrics.json").write_text('{"pq": {"all": 0.5, "things": 0.25, "stuff": 0.75, "note": "a text"}, "miou": 0.5}')
Path("table.md").write_text("| fog | 0.125 |")
Image.new("RGB", (3000, 1500)).save("plot.png")
for done in (0, 50, 100):
    end = chr(10) if done == 100 else chr(13)
    print(f"score: {done:3d}%|bar       | {done}/100 [00:01<00:01]", end=end, file=sys.stderr, flush=True)
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
    outs:
      - plot.png
      - table.md
      - metrics.json: {type: metrics}
  count:
    cmd: python count.py
    deps: [count.py]
    outs: [counted]
  hold:
    cmd: python hold.py
    deps: [hold.py]
"""


def write_project(folder: Path) -> Path:
    """Write a DVC project without git: a chain of three stages, and some that end in other ways."""
    write_dvc_project(folder, DVC_YAML)
    (folder / "params.yaml").write_text("zero:\n  rate: 0.5  # a comment to keep\n  name: x\n")
    (folder / "hold.py").write_text(HOLD)
    (folder / "score.py").write_text(SCORE)
    (folder / "count.py").write_text(COUNT)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder of a tiny DVC project."""
    return write_project(tmp_path)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The folder of a tiny DVC project in git, to sweep over."""
    return write_checkout(tmp_path / "checkout")


@pytest.fixture
def nobody_holds(tmp_path: Path) -> Callable[[], bool]:
    """Return True if every process that held the lock of `HOLD` is gone; requires that there was one."""

    def check() -> bool:
        with (tmp_path / "lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    return check


@pytest.fixture
def alone(tmp_path: Path) -> dict[str, str]:
    """The environment of a program without access to a Prefect server."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
        "PYTHONPATH": str(ROOT),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "DO_NOT_TRACK": "1",
    }


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A real Prefect server, for the tests that start workers."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as running:
        yield running


@pytest.fixture(scope="package")
def prefect() -> Iterator[None]:
    """A Prefect server for these tests only, with its own database."""
    with prefect_test_harness(server_startup_timeout=120):
        yield
