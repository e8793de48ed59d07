"""The code that a run was made with: commit, uncommitted changes, and the lock of its libraries.

What git does not see, because there is no repository, is still told by the digests of the source files.
"""

import base64
import hashlib
import os
import shutil
import subprocess
import zlib
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from panoptic.io.json_fields import JsonObject
from panoptic.passport.digests import digest_of

LOCK = "requirements.lock"
CODE = (
    *("cluster", "model", "panoptic", "pipelines", "stages"),
    *("data.dvc", "dvc.yaml", "pyproject.toml", "setup.py", LOCK),
)
"""What decides results; settings are in a section of their own."""
_COPIED_DIFF = 1 << 20
"""Largest compressed diff in bytes that is written into a passport."""


def describe_code(project: Path, files: Mapping[str, str]) -> dict[str, object]:
    """Describe the code in a checkout, whose source files that matter have the digests `files`."""
    lock = project / LOCK
    return {
        "commit": _git(project, "rev-parse", "HEAD").strip() or None,
        "diff": _describe_diff(_uncommitted(project)),
        "files": dict(files),
        "lock": {"path": LOCK, "sha256": digest_of(lock) if lock.is_file() else None},
    }


def _describe_diff(diff: bytes) -> dict[str, object]:
    packed = zlib.compress(diff, 9)
    copied = base64.b64encode(packed).decode() if diff and len(packed) <= _COPIED_DIFF else None
    return {"bytes": len(diff), "sha256": hashlib.sha256(diff).hexdigest(), "zlib": copied}


def recorded_diff(code: JsonObject) -> bytes:
    """The uncommitted changes. Raises `ValueError` if they were too large to be copied into the passport."""
    diff = code.child("diff")
    size = diff.integer("bytes")
    if size and not diff.has("zlib"):
        raise ValueError(
            f"{diff.where}: {size} bytes of uncommitted changes, too many to be kept; commit changes before training"
        )
    return zlib.decompress(base64.b64decode(diff.text("zlib"))) if size else b""


def _uncommitted(project: Path) -> bytes:
    """The differences of the code from the commit, with those of files that git does not know yet."""
    index = _git(project, "rev-parse", "--git-path", "index").strip()
    if not index:
        return b""
    present = [name for name in CODE if (project / name).exists()]
    with TemporaryDirectory(prefix="passport-") as folder:  # with a copy of git's index, which stays as it is
        copy = Path(folder) / "index"
        if (project / index).is_file():
            shutil.copyfile(project / index, copy)
        _git(project, "add", "--intent-to-add", "--", *present, index=copy)
        return _git_bytes(project, "diff", "--binary", "--no-color", "--no-ext-diff", "HEAD", "--", *CODE, index=copy)


def materialize(repository: Path, code: JsonObject, folder: Path) -> str | None:
    """Write the code of a passport to `folder`: its commit with the uncommitted changes.

    Returns why it could not; None if it could.
    """
    commit = code.text("commit") if code.has("commit") else None
    if commit is None:
        return "the passport names no commit: the run was made outside of git"
    if _git(repository, "cat-file", "-t", commit).strip() != "commit":
        return f"the commit {commit} is not in the repository {repository.resolve()}"
    archive = _git_bytes(repository, "archive", "--format=tar", commit, "--", *_known(repository, commit))
    subprocess.run(("tar", "-x", "-C", str(folder)), input=archive, check=True, capture_output=True)
    diff = recorded_diff(code)
    return apply_diff(folder, diff) if diff else None


def apply_diff(folder: Path, diff: bytes) -> str | None:
    """Apply uncommitted changes to a folder. Returns why they do not fit; None if they do."""
    # Without a repository around it, git applies to files alone.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.resolve().parent)}
    command = ("git", "apply", "--whitespace=nowarn", "-")
    done = subprocess.run(command, cwd=folder, env=environment, input=diff, capture_output=True)
    return f"the uncommitted changes do not fit the commit: {done.stderr.decode().strip()}" if done.returncode else None


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
