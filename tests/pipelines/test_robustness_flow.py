"""The shards of a stage run in parallel, the stage combines them, and nothing runs if the stage is up to date."""

import logging
import sys
from pathlib import Path

import pytest

from pipelines.process.session import CommandError
from pipelines.robustness import robustness
from tests.pipelines.services import write_dvc_project

# Like stages.robustness: a shard keeps its part, and the stage combines all parts into the result.
PROGRAM = """
import os, pathlib, sys, time
state = pathlib.Path("state")
state.mkdir(exist_ok=True)
if "--shard" in sys.argv:
    number, of = sys.argv[-1].split("/")
    if pathlib.Path("broken").exists() and number == "2":
        sys.exit("shard 2 has no memory")
    (state / f"started-{number}").touch()
    for _ in range(600):  # wait until all have started, which requires that they run in parallel
        if len(list(state.glob("started-*"))) >= int(of) - pathlib.Path("broken").exists():
            break
        time.sleep(0.05)
    else:
        sys.exit("the others did not start")
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


pytestmark = pytest.mark.usefixtures("prefect")


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    write_dvc_project(tmp_path, DVC_YAML)
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "seed").write_text("1")
    return tmp_path


def test_shards_run_in_parallel_and_not_again(shared: Path) -> None:
    robustness(jobs=3, folder=shared)
    assert (shared / "result").read_text() == "0 1 2"
    for part in (shared / "state").iterdir():
        part.unlink()
    robustness(jobs=3, folder=shared)
    assert not list((shared / "state").iterdir()), "it was up to date"
    (shared / "seed").write_text("2")
    robustness(jobs=2, folder=shared)
    assert (shared / "result").read_text() == "0 1"


def test_a_failed_shard_keeps_the_work_of_the_others(shared: Path, caplog: pytest.LogCaptureFixture) -> None:
    (shared / "broken").touch()
    with caplog.at_level(logging.ERROR), pytest.raises(CommandError, match="shard 2 has no memory"):
        robustness(jobs=2, folder=shared)
    assert not (shared / "result").exists()
    assert (shared / "state" / "part-1").exists()


def test_no_jobs_are_refused(shared: Path) -> None:
    with pytest.raises(ValueError, match="jobs is 0"):
        robustness(jobs=0, folder=shared)
