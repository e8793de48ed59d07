"""Waiting for files on a shared file system, where changes made on one machine may become visible late on another."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path

SECONDS = 120.0  # twice as long as NFS caches, by default, that a file does not exist
_POLL_SECONDS = 0.5

# Size and modification time (whole seconds, on which all machines agree) of each file, by name relative to a folder.
Snapshot = Mapping[str, tuple[int, int]]


def take_snapshot(folder: Path, patterns: Iterable[str]) -> Snapshot:
    """Record the files that match the patterns in `folder` or lie below a match, except hidden (unfinished) ones."""
    found = {}
    for match in (match for pattern in patterns for match in folder.glob(pattern)):
        for file in match.rglob("*") if match.is_dir() else [match]:
            name = file.relative_to(folder)
            if file.is_file() and not any(part.startswith(".") for part in name.parts):
                status = file.stat()
                found[str(name)] = (status.st_size, int(status.st_mtime))
    return found


def wait_for(folder: Path, expected: Snapshot, seconds: float = SECONDS) -> tuple[str, ...]:
    """Wait until the files in `folder` match a snapshot; return the names of those that still differ in the end."""
    deadline, missing = time.monotonic() + seconds, tuple(expected)
    while missing := tuple(name for name in missing if _differs(folder / name, expected[name])):
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_SECONDS)
    return missing


def _differs(file: Path, expected: tuple[int, int]) -> bool:
    try:
        # Opening the file makes a network file system look again.
        with file.open("rb"):
            status = file.stat()
    except OSError:
        return True
    return (status.st_size, int(status.st_mtime)) != tuple(expected)
