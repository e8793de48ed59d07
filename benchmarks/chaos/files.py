"""The files of a tree by their digests, without what is measured and so differs from run to run."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

Digests = Mapping[str, str]
"""Digest of every file by its path below the tree; a folder without files counts as one."""

_TIMES = re.compile(rb'"(?:seconds\w*|latency_ms\w*|median_ms|p90_ms|memory_mib\w*)": [-+.\de]+')
_ESTIMATED_TIMES = re.compile(rb'"(?:milliseconds|time)": \{[^{}]+\}')
_ALL = re.compile(rb".+", re.DOTALL)
MEASURED = (
    ("runs/predict/timings.json", _TIMES),
    ("runs/train/metrics.json", _TIMES),
    ("runs/complexity/metrics.json", _TIMES),
    ("runs/complexity/rows.json", _TIMES),
    ("runs/complexity/table.md", re.compile(rb"(?<=160 x 128).*")),
    ("runs/explain/early_exit.json", _ESTIMATED_TIMES),
    ("runs/train/model.passport.json", _ALL),
    ("runs/passport.json", _ALL),
    ("runs/report.html", _ALL),
)
"""What differs between equal runs, and is left out: seconds and memory of this very run, and passports, which have them
under a digest; that they are complete is for `model.verify` to say. The report shows all of these."""
_IGNORED = (".dvc", ".git", "dvc.lock")
"""DVC's cache and locks, git's objects, and the digests of measured files in DVC's lock file."""
SOCKETS = "pymp-*"
_OF_PYTHON = (f"tmp/{SOCKETS}", "tmp/" + "[a-z0-9_]" * 8)
"""What Python itself leaves in the temporary folder when it is killed, as only Python knows whose it is: folders for
the sockets of multiprocessing, and the file by which `tempfile` tries whether it may write there."""


def digest_tree(tree: Path) -> Digests:
    """Digest all files of a tree."""
    found = {}
    for path in sorted(tree.rglob("*")):
        name = path.relative_to(tree).as_posix()
        if any(_is_ignored(part) for part in (PurePosixPath(name), *PurePosixPath(name).parents)):
            continue
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_file():
            found[name] = _digest(name, path)
        elif not path.is_dir():
            found[name] = "special"
        elif all(_is_ignored(PurePosixPath(name, one.name)) for one in path.iterdir()):
            found[f"{name}/"] = "empty"
    return found


def _is_ignored(name: PurePosixPath) -> bool:
    return name.name in _IGNORED or any(name.match(pattern) for pattern in _OF_PYTHON)


def _digest(name: str, path: Path) -> str:
    data = path.read_bytes()
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
