"""The files of a tree by their digests, without what is measured and so differs from run to run."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

Digests = Mapping[str, str]
"""Digest of every file by its path below the tree; a folder without files counts as one."""

_TIMES = re.compile(rb'"(?:seconds\w*|latency_ms\w*|median_ms|p90_ms|memory_mib\w*)": [-+.\de]+')
MEASURED = (
    ("runs/predict/timings.json", _TIMES),
    ("runs/train/metrics.json", _TIMES),
    ("runs/complexity/metrics.json", _TIMES),
    ("runs/complexity/rows.json", _TIMES),
    ("runs/complexity/table.md", re.compile(rb"(?<=160 x 128).*")),
)
"""Numbers that differ between equal runs, and are left out: seconds and memory of this very run."""
_IGNORED = (".dvc", ".git", "dvc.lock")
"""DVC's cache and locks, git's objects, and the digests of measured files in DVC's lock file."""


def digest_tree(tree: Path) -> Digests:
    """Digest all files of a tree."""
    found = {}
    for path in sorted(tree.rglob("*")):
        name = path.relative_to(tree).as_posix()
        if any(part in _IGNORED for part in PurePosixPath(name).parts):
            continue
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                found[f"{name}/"] = "empty"
        else:
            found[name] = _digest(name, path)
    return found


def _digest(name: str, path: Path) -> str:
    data = path.read_bytes() if path.is_file() else str(path.readlink()).encode()
    for measured, numbers in MEASURED:
        if PurePosixPath(name).match(measured):
            data = numbers.sub(b"", data)
    return hashlib.sha256(data).hexdigest()


def wrong_results(found: Digests, expected: Digests) -> list[str]:
    """Name the expected files that are missing or have other bytes."""
    return [
        *(f"missing: {name}" for name in expected if name not in found),
        *(f"other bytes: {name}" for name in found if name in expected and found[name] != expected[name]),
    ]


def left_behind(found: Digests, expected: Digests) -> list[str]:
    """Name the files that an undisturbed run does not leave."""
    return [f"left behind: {name}" for name in found if name not in expected]
