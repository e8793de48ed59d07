"""Sweeps over a tiny project in git: results, failures, another run for free, and kills half-way."""

import csv
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from pipelines.processes import CommandError
from pipelines.project import DvcProject
from pipelines.sweep import sweep
from pipelines.sweep_results import Metric, metric_values
from pipelines.workspace import Checkout, GitError, git

ROOT = Path(__file__).parents[2]
METRIC = "runs/metrics.json:found.score"
LEARN = """
import fcntl, sys, time
from pathlib import Path
import yaml
learn = yaml.safe_load(Path("params.yaml").read_text())["learn"]
state = Path("runs/state")
print("going on" if state.exists() else "beginning", learn["rate"], flush=True)
with Path("datasets/begun").open("a") as begun:
    begun.write(f"{learn['rate']}\\n")
if learn["rate"] == 13:
    sys.exit("no luck with 13")
if Path("datasets/hold").exists():
    lock = Path("datasets/lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_SH)
    state.parent.mkdir(exist_ok=True)
    state.touch()
    print("holding", flush=True)
    time.sleep(600)
Path("runs/weights").write_text(str(learn["rate"] * 10 + learn["width"]))
"""
SCORE = """
import json
from pathlib import Path
score = int(Path("runs/weights").read_text())
Path("runs/metrics.json").write_text(json.dumps({"found": {"score": score}}))
"""
DVC_YAML = """
stages:
  learn:
    cmd: python learn.py
    deps: [learn.py, data]
    params: [learn]
    outs: [runs/weights]
  score:
    cmd: python score.py
    deps: [score.py, runs/weights]
    metrics: [runs/metrics.json]
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with two stages, data under DVC, and a dataset that git ignores."""
    folder = tmp_path / "checkout"
    (folder / "datasets").mkdir(parents=True)
    (folder / "runs").mkdir()
    (folder / "learn.py").write_text(LEARN)
    (folder / "score.py").write_text(SCORE)
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / "params.yaml").write_text("learn:\n  rate: 1 # of learning\n  width: 1\n")
    (folder / ".gitignore").write_text("/datasets/\n/runs/\n/data\n")
    (folder / "data").write_text("pictures")
    git(folder, "init", "--quiet")
    git(folder, "config", "user.name", "Somebody")
    git(folder, "config", "user.email", "somebody@localhost")
    dvc(folder, "init", "--quiet")
    dvc(folder, "config", "core.analytics", "false")
    dvc(folder, "add", "--quiet", "data")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "All of it")
    return folder


def dvc(folder: Path, *arguments: str) -> str:
    """What a command prints; its PATH has the environment's programs, which the queue starts by name."""
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def table(checkout: Path) -> list[list[str]]:
    with (checkout / "runs/sweeps/two/results.csv").open(newline="") as file:
        return list(csv.reader(file))


def begun(checkout: Path) -> list[str]:
    return sorted((checkout / "datasets/begun").read_text().split())


@pytest.mark.usefixtures("prefect")
def test_two_by_two_differ_and_the_second_time_is_free(checkout: Path) -> None:
    grid = {"learn.rate": ["2", "3"], "learn.width": ["4", "5"]}
    sweep("two", grid, stages=["score"], jobs=2, metric=METRIC, folder=checkout)
    head, *found = table(checkout)
    assert head == ["learn.rate", "learn.width", "found.score", "state", "experiment"]
    assert [row[:4] for row in found] == [
        ["2", "4", "24.0", "done"],
        ["2", "5", "25.0", "done"],
        ["3", "4", "34.0", "done"],
        ["3", "5", "35.0", "done"],
    ]
    assert begun(checkout) == ["2", "2", "3", "3"]
    assert Checkout(checkout).experiments() == {row[4] for row in found}
    out = checkout / "runs/sweeps/two"
    assert sorted(path.name for path in out.iterdir()) == ["results.csv", "results.md", "results.png"]
    assert (out / "results.png").read_bytes().startswith(b"\x89PNG")
    assert "| 3 | 5 | 35 | done |" in (out / "results.md").read_text()
    assert git(checkout, "status", "--porcelain") == ""

    sweep("two", grid | {"learn.rate": ["2", "6"]}, stages=["score"], metric=METRIC, folder=checkout)
    assert begun(checkout) == ["2", "2", "3", "3", "6", "6"]
    assert [row[2:4] for row in table(checkout)[1:]] == [
        ["24.0", "there already"],
        ["25.0", "there already"],
        ["64.0", "done"],
        ["65.0", "done"],
    ]


@pytest.mark.usefixtures("prefect")
def test_a_trial_that_fails_does_not_lose_the_others(checkout: Path) -> None:
    with pytest.raises(CommandError, match=r"1 of 3 trials failed; .*learn\.rate=13: .*two-[0-9a-f]{10}$"):
        sweep("two", {"learn.rate": ["2", "13", "4"]}, stages=["score"], metric=METRIC, folder=checkout)
    assert [row[:3] for row in table(checkout)[1:]] == [
        ["2", "21.0", "done"],
        ["13", "", "failed"],
        ["4", "41.0", "done"],
    ]
    (kept,) = [path for path in (checkout / "runs/sweeps/two").iterdir() if path.is_dir()]
    assert "rate: 13" in (kept / "params.yaml").read_text()


@pytest.mark.usefixtures("prefect")
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_sweep_leaves_no_process_and_goes_on(checkout: Path, ending: int) -> None:
    (checkout / "datasets/hold").touch()
    command = [sys.executable, "-m", "pipelines.sweep", "two", "--grid", "learn.rate=2,3,4"]
    command += ["--jobs", "2", "--stages", "score", "--metric", METRIC]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_API_URL": str(PREFECT_API_URL.value())}
    with subprocess.Popen(
        command, cwd=checkout, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if sum("holding" in text for text in said) == 2:
                process.send_signal(ending)
                break
        said += process.stdout  # until the last process that could write to it is gone
    assert process.returncode == (-ending if ending == signal.SIGKILL else 128 + ending), "".join(said)
    with (checkout / "datasets/lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert begun(checkout) == ["2", "3"], "the third one did not begin when the others ended"

    (checkout / "datasets/hold").unlink()
    sweep("two", {"learn.rate": ["2", "3", "4"]}, stages=["score"], metric=METRIC, folder=checkout)
    assert [row[1:3] for row in table(checkout)[1:]] == [["21.0", "done"], ["31.0", "done"], ["41.0", "done"]]


@pytest.mark.usefixtures("prefect")
def test_what_the_trials_would_not_run_is_refused(checkout: Path) -> None:
    with pytest.raises(ValueError, match=r"no setting learn\.width_; there are: learn\.rate, learn\.width"):
        sweep("two", {"learn.rate": ["2"]}, [{"learn.width_": "3"}], stages=["score"], folder=checkout)
    with pytest.raises(ValueError, match=r"'learn\.rate=2' and 'learn\.rate=0x2' are the same"):
        sweep("two", {"learn.rate": ["2", "0x2"]}, stages=["score"], folder=checkout)
    with pytest.raises(ValueError, match="no stage evaluate"):
        sweep("two", {"learn.rate": ["2"]}, folder=checkout)
    (checkout / "params.yaml").write_text("learn: {rate: 5, width: 6}\n")  # settings need not be committed
    (checkout / "learn.py").write_text("# another\n")
    with pytest.raises(GitError, match=r"changed and not committed: learn\.py; "):
        sweep("two", {"learn.rate": ["2"]}, stages=["score"], folder=checkout)
    assert not (checkout / "datasets/begun").exists()


@pytest.mark.slow
def test_the_queue_of_dvc_runs_a_choice_of_settings(checkout: Path) -> None:
    """By hand, as docs/sweeps.md says: its runs have what git and DVC know, and nothing else of the checkout."""
    (checkout / "learn.py").write_text(LEARN.replace('Path("datasets/begun")', 'Path("runs/begun")'))
    git(checkout, "commit", "--quiet", "--all", "-m", "Without a dataset of its own")
    (checkout / "datasets/hold").touch()  # nobody sees it
    dvc(checkout, "exp", "run", "--queue", "-S", "learn.rate=choice(2,3)", "-S", "learn.width=choice(4,5)")
    dvc(checkout, "queue", "start", "--jobs", "2")
    while len(Checkout(checkout).experiments()) < 4:
        status = dvc(checkout, "queue", "status")
        assert "Failed" not in status, status
        assert "Queued" in status or "Running" in status or "Success" in status, status
    dvc(checkout, "queue", "stop")
    shown = DvcProject(checkout).dvc("exp", "show", "--json")
    assert sorted(metric_values(shown, Metric.parse(METRIC)).values()) == [24, 25, 34, 35]
