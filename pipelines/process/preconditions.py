"""Checks of the machine and the checkout before a flow starts, so that no run ends halfway."""

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from prefect.settings import get_current_settings

from pipelines.dvc_project.private_state import keep_state_private
from pipelines.dvc_project.without_git import is_in_git, use_dvc_without_git
from pipelines.process.prefect_api import require_server
from pipelines.process.prefect_home import make_home_private

_GIT = "trials of a sweep are clones, made by git"


def check_preconditions(folder: Path) -> None:
    """Check that a flow can run in the checkout `folder`; let DVC work in one without git, with a private state.

    Raises:
        ValueError: It cannot; the message says what to do.
    """
    if not (folder / "dvc.yaml").is_file():
        raise ValueError(f"{folder.resolve()} has no dvc.yaml; start the command in the project's folder")
    _require_writable(folder, "work in a copy of the project that you own")
    settings = get_current_settings()
    if settings.api.url:
        require_server(settings.api.url)
    else:
        make_home_private()
    use_dvc_without_git(folder)
    keep_state_private(folder)


def require_idle(folder: Path) -> None:
    """Raise `ValueError` if a DVC command is at work in the project, for which others would wait without a word."""
    state = folder / ".dvc" / "tmp"
    if holders := [*_stage_holders(state / "rwlock"), *_lock_holder(state / "lock")]:
        raise ValueError(f"DVC is at work in {folder.resolve()} ({holders[0]}); wait until it ends, or stop it")


def require_git(folder: Path) -> None:
    """Raise `ValueError` if there is no git, or `folder` is no repository with a commit."""
    if not shutil.which("git"):
        raise ValueError(f"there is no program git; install it: {_GIT}")
    head = ["git", "rev-parse", "--quiet", "--verify", "HEAD"]
    if not is_in_git(folder) or subprocess.run(head, cwd=folder, capture_output=True).returncode:
        fix = "git init && git add --all && git commit -m start"
        raise ValueError(f"{folder.resolve()} is no git repository with a commit; make one ({fix}): {_GIT}")


def _require_writable(folder: Path, hint: str) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0" * 4096)
    except OSError as error:
        raise ValueError(f"{folder.resolve()} cannot be written ({error.strerror}); {hint}") from None


def _stage_holders(record: Path) -> Iterator[str]:
    """Yield the DVC commands that are running a stage; killed ones may be in the record still."""
    try:
        by_mode: dict[str, dict[str, dict[str, object]]] = json.loads(record.read_text(encoding="utf-8"))
        # A path has one writer, in the middle of its stage.
        writers = {(int(str(writer["pid"])), str(writer["cmd"])) for writer in by_mode["write"].values()}
    except (OSError, ValueError, KeyError):  # nothing has run here, or nothing is running
        return
    yield from (f"`{command}`, process {pid}" for pid, command in writers if _lives(pid))


def _lock_holder(file: Path) -> Iterator[str]:
    """Yield a text if some DVC command holds the project's lock, as each does outside of a stage's own program."""
    with suppress(FileNotFoundError), file.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield f"a command holds {file}"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True
