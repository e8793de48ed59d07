"""What a machine sees of the files on a shared file system, where another one's changes may come into sight late."""

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

SECONDS = 120.0  # twice as long as NFS may remember, by default, that a file is not there
_POLL_SECONDS = 0.5

# By name relative to a folder, the size and the second of the last change, which all machines are told alike.
Seen = Mapping[str, tuple[int, int]]


def look(folder: Path, patterns: Iterable[str]) -> Seen:
    """The files at and below what the patterns name in `folder`, without hidden ones: these are being written."""
    found = {}
    for pattern in patterns:
        for place in folder.glob(pattern):
            for file in _files(place):
                name = file.relative_to(folder)
                if not any(part.startswith(".") for part in name.parts):
                    status = file.stat()
                    found[str(name)] = (status.st_size, int(status.st_mtime))
    return found


def wait_for(folder: Path, expected: Seen, seconds: float = SECONDS) -> tuple[str, ...]:
    """Wait until the files in `folder` are as they were seen elsewhere; those that even then are not."""
    deadline, missing = time.monotonic() + seconds, tuple(expected)
    while missing := tuple(name for name in missing if _differs(folder / name, expected[name])):
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_SECONDS)
    return missing


def _files(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from (file for file in place.rglob("*") if file.is_file())
    else:
        yield place


def _differs(file: Path, expected: tuple[int, int]) -> bool:
    try:
        # Opening is what makes a network file system ask again.
        with file.open("rb"):
            status = file.stat()
    except OSError:
        return True
    return (status.st_size, int(status.st_mtime)) != tuple(expected)
