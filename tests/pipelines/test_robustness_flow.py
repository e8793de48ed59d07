"""The shares of a stage run beside each other, are put together by the stage, and are not run for nothing."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.testing.utilities import prefect_test_harness

from pipelines.process.run import CommandError
from pipelines.robustness import robustness

# As stages.robustness: a share leaves its part behind, the stage takes all parts and writes the result.
PROGRAM = """
import os, pathlib, sys, time
state = pathlib.Path("state")
state.mkdir(exist_ok=True)
if "--share" in sys.argv:
    number, of = sys.argv[-1].split("/")
    if pathlib.Path("broken").exists() and number == "2":
        sys.exit("share 2 has no memory")
    (state / f"started-{number}").touch()
    for _ in range(600):  # until all run: they run at once, or never end
        if len(list(state.glob("started-*"))) >= int(of) - pathlib.Path("broken").exists():
            break
        time.sleep(0.05)
    else:
        sys.exit("the others have not come")
    (state / f"part-{number}").write_text(os.environ["LOCAL_RANK"])
else:
    parts = sorted(state.glob("part-*"))
    pathlib.Path("result").write_text(" ".join(part.read_text() for part in parts))
"""
DVC_YAML = f"""
stages:
  weights:
    cmd: cp seed weights
    deps: [seed]
    outs: [weights]
  apart:
    cmd: echo not needed && exit 1
  robustness:
    cmd: {sys.executable} program.py --state state
    deps: [weights]
    outs: [result]
"""


@pytest.fixture(scope="module", autouse=True)
def _prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "seed").write_text("1")
    return tmp_path


def test_shares_run_at_once_and_not_again(shared: Path) -> None:
    robustness(jobs=3, folder=shared)
    assert (shared / "result").read_text() == "0 1 2"
    for part in (shared / "state").iterdir():
        part.unlink()
    robustness(jobs=3, folder=shared)
    assert not list((shared / "state").iterdir()), "it was up to date"
    (shared / "seed").write_text("2")
    robustness(jobs=2, folder=shared)
    assert (shared / "result").read_text() == "0 1"


def test_a_share_that_fails_keeps_what_the_others_have(shared: Path, caplog: pytest.LogCaptureFixture) -> None:
    (shared / "broken").touch()
    with caplog.at_level(logging.ERROR), pytest.raises(CommandError, match="share 2 has no memory"):
        robustness(jobs=2, folder=shared)
    assert not (shared / "result").exists()
    assert (shared / "state" / "part-1").exists()


def test_no_jobs_are_refused(shared: Path) -> None:
    with pytest.raises(ValueError, match="jobs is 0"):
        robustness(jobs=0, folder=shared)
