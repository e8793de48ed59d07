"""Sweeps over a tiny project in git: results, failures, repeated sweeps, and kills halfway."""

import csv
import fcntl
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.dvc_project.project import DvcProject
from pipelines.dvc_project.workspace import Checkout, GitError, git
from pipelines.process.session import CommandError
from pipelines.reporting.sweep_results import Metric, metric_values
from pipelines.sweep import sweep
from tests.markdown import unpadded
from tests.pipelines.services import in_project
from tests.pipelines.tiny_sweep import LEARN, METRIC, dvc


def table(checkout: Path) -> list[list[str]]:
    with (checkout / "runs/sweeps/two/results.csv").open(newline="") as file:
        return list(csv.reader(file))


def begun(checkout: Path) -> list[str]:
    return sorted((checkout / "datasets/begun").read_text().split())


@pytest.mark.usefixtures("prefect")
def test_a_grid_gives_distinct_results_and_a_repeated_sweep_runs_only_new_trials(checkout: Path) -> None:
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
    assert "| 3 | 5 | 35 | done |" in unpadded((out / "results.md").read_text())
    assert git(checkout, "status", "--porcelain") == ""

    sweep("two", grid | {"learn.rate": ["2", "6"]}, stages=["score"], metric=METRIC, folder=checkout)
    assert begun(checkout) == ["2", "2", "3", "3", "6", "6"]
    assert [row[2:4] for row in table(checkout)[1:]] == [
        ["24.0", "already there"],
        ["25.0", "already there"],
        ["64.0", "done"],
        ["65.0", "done"],
    ]


ODD = 'a "quote", it\'s größe %20 $(touch BAD) `touch BAD` #;&'


@pytest.mark.usefixtures("prefect")
@pytest.mark.parametrize("name", ["data that was never pulled", ODD])
def test_trials_find_their_data_and_metric_wherever_the_checkout_is(checkout: Path, tmp_path: Path, name: str) -> None:
    """The remote has the data, nothing else has; the metric is one that `dvc metrics show` leaves out."""
    stages = (checkout / "dvc.yaml").read_text()
    (checkout / "dvc.yaml").write_text(stages.replace("metrics: [runs/metrics.json]", "outs: [runs/metrics.json]"))
    dvc(checkout, "remote", "add", "--default", "origin", str(tmp_path / "remote"))
    dvc(checkout, "push", "data.dvc")
    git(checkout, "commit", "--quiet", "--all", "-m", "Have a remote")
    (checkout / "data").unlink()
    shutil.rmtree(checkout / ".dvc" / "cache")
    checkout = checkout.rename(tmp_path / name)
    sweep("two", {"learn.rate": ["2", "3"]}, stages=["score"], metric=METRIC, folder=checkout)
    assert [row[:3] for row in table(checkout)[1:]] == [["2", "21.0", "done"], ["3", "31.0", "done"]]


@pytest.mark.usefixtures("prefect")
def test_trials_take_only_the_data_that_their_stages_need(checkout: Path, caplog: pytest.LogCaptureFixture) -> None:
    (checkout / "data").unlink()
    shutil.rmtree(checkout / ".dvc" / "cache")
    hint = r"`dvc pull data\.dvc` has to succeed here; if the data is here already: `dvc commit data\.dvc`"
    with pytest.raises(CommandError, match=rf"DVC's cache does not have the data of data\.dvc, .*; {hint}"):
        sweep("two", {"learn.rate": ["2", "3"]}, stages=["score"], metric=METRIC, folder=checkout)
    assert "trials to run" not in caplog.text
    stages = (checkout / "dvc.yaml").read_text()
    (checkout / "dvc.yaml").write_text(stages.replace("[learn.py, data]", "[learn.py]"))
    git(checkout, "commit", "--quiet", "--all", "-m", "Need no data")
    caplog.clear()
    sweep("two", {"learn.rate": ["2", "3"]}, stages=["score"], metric=METRIC, folder=checkout)
    assert table(checkout)[1][:3] == ["2", "21.0", "done"]
    assert "trials to run: 2, 1 at a time; with a result already: 0" in caplog.text
    assert "Running stage 'learn'" in caplog.text
    assert "No file hash info" not in caplog.text


@pytest.mark.usefixtures("prefect")
def test_a_failed_trial_does_not_stop_the_others(checkout: Path) -> None:
    with pytest.raises(CommandError, match=r"1 of 3 trials failed; .*learn\.rate=13: .*two-[0-9a-f]{10}$") as failed:
        sweep("two", {"learn.rate": ["2", "13", "4"]}, stages=["score"], metric=METRIC, folder=checkout)
    assert [row[:3] for row in table(checkout)[1:]] == [
        ["2", "21.0", "done"],
        ["13", "", "failed"],
        ["4", "41.0", "done"],
    ]
    assert (
        "learn.rate=13: ERROR: failed to reproduce 'learn': failed to run: python learn.py, exited with 1, in "
        in str(failed.value)
    )
    (kept,) = [path for path in (checkout / "runs/sweeps/two").iterdir() if path.is_dir()]
    assert "rate: 13" in (kept / "params.yaml").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("prefect")
@pytest.mark.skipif(not Path("/proc").exists(), reason="looks at processes in /proc, which Linux has")
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_sweep_leaves_no_process_and_resumes(checkout: Path, alone: dict[str, str], ending: int) -> None:
    (checkout / "datasets/hold").touch()
    command = [sys.executable, "-m", "pipelines.sweep", "two", "--grid", "learn.rate=2,3,4"]
    command += ["--jobs", "2", "--stages", "score", "--metric", METRIC]
    with subprocess.Popen(
        command, cwd=checkout, env=alone, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        output = []
        for line in process.stdout:
            output.append(line)
            if sum("holding" in text for text in output) == 2:
                process.send_signal(ending)
                break
        output += process.stdout  # until the last process that could write to it is gone
    assert process.returncode == (-ending if ending == signal.SIGKILL else 128 + ending), "".join(output)
    assert "--- Logging error ---\n" not in output
    assert (output[-1] == "stopped; repeat the command to resume\n") == (ending == signal.SIGTERM), output[-1]
    with (checkout / "datasets/lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    while in_project(checkout):  # Prefect's temporary server too
        time.sleep(0.05)
    assert begun(checkout) == ["2", "3"], "the third trial did not start when the others ended"

    (checkout / "datasets/hold").unlink()
    sweep("two", {"learn.rate": ["2", "3", "4"]}, stages=["score"], metric=METRIC, folder=checkout)
    assert [row[1:3] for row in table(checkout)[1:]] == [["21.0", "done"], ["31.0", "done"], ["41.0", "done"]]


@pytest.mark.usefixtures("prefect")
def test_trials_that_cannot_run_are_refused(checkout: Path) -> None:
    with pytest.raises(ValueError, match=r"no setting learn\.width_; settings: learn\.rate, learn\.width"):
        sweep("two", {"learn.rate": ["2"]}, [{"learn.width_": "3"}], stages=["score"], folder=checkout)
    with pytest.raises(ValueError, match=r"'learn\.rate=2' and 'learn\.rate=0x2' are the same"):
        sweep("two", {"learn.rate": ["2", "0x2"]}, stages=["score"], folder=checkout)
    with pytest.raises(ValueError, match="no stage evaluate"):
        sweep("two", {"learn.rate": ["2"]}, folder=checkout)
    (checkout / "params.yaml").write_text("learn: {rate: 5, width: 6}\n")  # settings need not be committed
    (checkout / "learn.py").write_text("# another\n")
    (checkout / "dvc.lock").write_text("# DVC rewrites it after each run, and asks to `git add` it\n")
    git(checkout, "add", "dvc.lock")
    with pytest.raises(GitError, match=r"uncommitted changes: learn\.py; "):
        sweep("two", {"learn.rate": ["2"]}, stages=["score"], folder=checkout)
    assert not (checkout / "datasets/begun").exists()


@pytest.mark.slow
def test_dvcs_queue_runs_a_choice_of_settings(checkout: Path) -> None:
    """Sweep by hand as in docs/sweeps.md; its runs see only files that git or DVC track."""
    (checkout / "learn.py").write_text(LEARN.replace('Path("datasets/begun")', 'Path("runs/begun")'))
    git(checkout, "commit", "--quiet", "--all", "-m", "Do not write to the dataset")
    (checkout / "datasets/hold").touch()  # not visible to the runs
    dvc(checkout, "exp", "run", "--queue", "-S", "learn.rate=choice(2,3)", "-S", "learn.width=choice(4,5)")
    dvc(checkout, "queue", "start", "--jobs", "2")
    while len(Checkout(checkout).experiments()) < 4:
        status = dvc(checkout, "queue", "status")
        assert "Failed" not in status, status
        assert "Queued" in status or "Running" in status or "Success" in status, status
    dvc(checkout, "queue", "stop")
    shown = DvcProject(checkout).dvc("exp", "show", "--json")
    assert sorted(metric_values(shown, Metric.parse(METRIC), Checkout(checkout).cache()).values()) == [24, 25, 34, 35]
