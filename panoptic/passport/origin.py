"""The code that a run was made with: commit, uncommitted changes, and the lock of its libraries.

What git does not see, because there is no repository, is still told by the digests of the source files.
"""

import base64
import hashlib
import os
import re
import shutil
import subprocess
import zlib
from collections.abc import Mapping
from pathlib import Path

from panoptic.io.json_fields import JsonObject
from panoptic.io.working_folder import working_folder
from panoptic.passport.digests import digest_of, unpack

LOCK = "requirements.lock"
CODE = (
    *("cluster", "model", "panoptic", "pipelines", "stages"),
    *("data.dvc", "dvc.yaml", "pyproject.toml", "setup.py", LOCK),
)
"""What decides results; settings are in a section of their own."""
_COMMIT = re.compile("[0-9a-f]{40,64}")
_LARGEST_DIFF = 1 << 26
_COPIED_DIFF = 1 << 20
"""Largest compressed diff in bytes that is written into a passport."""


def describe_code(project: Path, files: Mapping[str, str]) -> dict[str, object]:
    """Describe the code in a checkout, whose source files that matter have the digests `files`."""
    lock = project / LOCK
    # An installation may lie in somebody else's repository.
    is_tracked = bool(_git(project, "ls-files", "--", *CODE))
    return {
        "commit": (is_tracked and _git(project, "rev-parse", "HEAD").strip()) or None,
        "diff": _describe_diff(_uncommitted(project) if is_tracked else b""),
        "files": dict(files),
        "lock": {"path": LOCK, "sha256": digest_of(lock) if lock.is_file() else None},
    }


def _describe_diff(diff: bytes) -> dict[str, object]:
    packed = zlib.compress(diff, 9)
    copied = base64.b64encode(packed).decode() if diff and len(packed) <= _COPIED_DIFF else None
    return {"bytes": len(diff), "sha256": hashlib.sha256(diff).hexdigest(), "zlib": copied}


def _recorded_diff(code: JsonObject) -> bytes:
    """The uncommitted changes. Raises `ValueError` if they were edited."""
    diff = code.child("diff")
    size = diff.integer("bytes")
    content = unpack(diff.text("zlib"), min(size, _LARGEST_DIFF)) if size else b""
    if size and hashlib.sha256(content).hexdigest() != diff.text("sha256"):
        raise ValueError(f"{diff.where}: the uncommitted changes have another digest than it says; restore the file")
    return content


def _uncommitted(project: Path) -> bytes:
    """The differences of the code from the commit, with those of files that git does not know yet."""
    index = _git(project, "rev-parse", "--git-path", "index").strip()
    if not index:
        return b""
    present = [name for name in CODE if (project / name).exists()]
    with working_folder() as folder:  # with a copy of git's index, which stays as it is
        copy = folder / "index"
        if (project / index).is_file():
            shutil.copyfile(project / index, copy)
        _git(project, "add", "--intent-to-add", "--", *present, index=copy)
        return _git_bytes(project, "diff", "--binary", "--no-color", "--no-ext-diff", "HEAD", "--", *CODE, index=copy)


def materialize(repository: Path, code: JsonObject, folder: Path) -> str | None:
    """Write the code of a passport to `folder`: its commit with the uncommitted changes.

    Returns why it cannot be had; None if it was written. Raises `ValueError` for what no run can have recorded.
    """
    if not code.has("commit"):
        return "the passport names no commit: the run was made outside of git"
    commit = code.text("commit")
    if not _COMMIT.fullmatch(commit):
        raise ValueError(f"{code.where}: the commit is {commit!r:.80}, expected its hash; restore the file")
    if code.child("diff").integer("bytes") and not code.child("diff").has("zlib"):
        return "the uncommitted changes were too many to be kept; commit changes before training"
    if _git(repository, "cat-file", "-t", commit).strip() != "commit":
        return f"the commit {commit} is not in the repository {repository.resolve()}"
    archive = _git_bytes(repository, "archive", "--format=tar", commit, "--", *_known(repository, commit))
    subprocess.run(("tar", "-x", "-C", str(folder)), input=archive, check=True, capture_output=True)
    if diff := _recorded_diff(code):
        _apply(folder, diff)
    return None


def _apply(folder: Path, diff: bytes) -> None:
    # Without a repository around it, git applies to files alone.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.resolve().parent)}
    command = ("git", "apply", "--whitespace=nowarn", "-")
    done = subprocess.run(command, cwd=folder, env=environment, input=diff, capture_output=True)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise ValueError(f"the uncommitted changes do not fit the commit: {said}")


def _known(repository: Path, commit: str) -> list[str]:
    return _git(repository, "ls-tree", "--name-only", commit, "--", *CODE).split()


def _git(project: Path, *arguments: str, index: Path | None = None) -> str:
    return _git_bytes(project, *arguments, index=index).decode(errors="replace")


def _git_bytes(project: Path, *arguments: str, index: Path | None = None) -> bytes:
    """The output of git; nothing where there is no git, no repository or no such object."""
    environment = {**os.environ, **({"GIT_INDEX_FILE": str(index)} if index else {})}
    try:
        done = subprocess.run(("git", *arguments), cwd=project, env=environment, capture_output=True)
    except FileNotFoundError:
        return b""
    return b"" if done.returncode else done.stdout
