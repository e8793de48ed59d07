"""Folders for their owner alone: what other users could put or read there would be trusted or secret."""

import os
import stat
import tempfile
from pathlib import Path

UMASK = 0o077


def make_private(folder: Path, hint: str) -> None:
    """Create a folder if it is missing, and take all rights of other users on it and everything in it.

    Raises:
        ValueError: It cannot be written, or belongs to somebody else; the message ends with the hint.
    """
    try:
        folder.mkdir(mode=0o777 & ~UMASK, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0" * 4096)
        for inside, _, files in os.walk(folder):
            for path in (Path(inside), *(Path(inside, name) for name in files)):
                _take_from_others(path)
    except OSError as error:
        raise ValueError(f"{folder.absolute()} cannot be written ({error.strerror}); {hint}") from None


def _take_from_others(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
        if mode & UMASK and not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(mode) & ~UMASK)
    except FileNotFoundError:  # of a database that is being closed
        pass
