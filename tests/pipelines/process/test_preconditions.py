"""A flow that cannot run says so at once, in one line, before Prefect or DVC starts."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.dvc_project.without_git import use_dvc_without_git
from pipelines.process.preconditions import check_preconditions, require_git, require_idle
from tests.pipelines.tiny_sweep import dvc

MODULES = ("reproduce", "robustness", "evaluate", "sweep")


def run(module: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    arguments = {"evaluate": ["runs/predict"], "sweep": ["two", "--grid", "zero.rate=1,2"]}.get(module, [])
    command = [sys.executable, "-m", f"pipelines.{module}", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not Path("/proc").exists(), reason="/proc is a folder in which nobody can write")
@pytest.mark.parametrize("module", MODULES)
def test_a_home_that_cannot_be_written_ends_every_flow_with_one_line(
    project: Path, alone: dict[str, str], module: str
) -> None:
    done = run(module, project, {**alone, "PREFECT_HOME": "/proc/x"})
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: /proc/x cannot be written (")
    assert line.endswith("); set PREFECT_HOME to a folder of your own that can be written, for Prefect's database")


@pytest.mark.parametrize("module", MODULES)
def test_a_server_that_does_not_answer_ends_every_flow_with_one_line(
    project: Path, alone: dict[str, str], module: str
) -> None:
    done = run(module, project, {**alone, "PREFECT_API_URL": "http://127.0.0.1:9/api"})
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: no Prefect server answers at http://127.0.0.1:9/api (")
    assert "; start one (make server), correct PREFECT_API_URL, or unset it" in line


def test_another_folder_than_the_projects_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no dvc\.yaml; start the command in the project's folder"):
        check_preconditions(tmp_path)


def test_a_sweep_needs_a_git_repository_with_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"no git repository with a commit; make one \(git init && "):
        require_git(tmp_path)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    with pytest.raises(ValueError, match="no git repository with a commit"):
        require_git(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="no program git; install it"):
        require_git(tmp_path)


def test_dvc_works_in_a_copy_without_git_and_with_git_once_there_is_a_repository(checkout: Path) -> None:
    (checkout / ".git").rename(checkout / "elsewhere")
    use_dvc_without_git(checkout)
    assert dvc(checkout, "status", "data.dvc").strip() == "Data and pipelines are up to date."
    use_dvc_without_git(checkout)  # once is enough
    (checkout / "elsewhere").rename(checkout / ".git")
    use_dvc_without_git(checkout)
    assert "no_scm" not in (checkout / ".dvc" / "config.local").read_text()


def test_a_flow_does_not_wait_in_silence_for_another_dvc_command(project: Path) -> None:
    state = project / ".dvc" / "tmp"
    require_idle(project)  # nothing has ever run
    state.mkdir()
    (state / "rwlock").write_text(json.dumps({"write": {"a": {"pid": 2**22 + 1, "cmd": "killed"}}, "read": {}}))
    (state / "lock").touch()
    require_idle(project)
    with (state / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match=r"DVC is at work in .*; wait until it ends, or stop it"):
            require_idle(project)
    (state / "rwlock").write_text(json.dumps({"write": {"a": {"pid": os.getpid(), "cmd": "dvc repro"}}, "read": {}}))
    with pytest.raises(ValueError, match=rf"\(`dvc repro`, process {os.getpid()}\)"):
        require_idle(project)
