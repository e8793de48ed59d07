"""Hidden folders for what a program is writing, of which those of dead programs are removed by the next one.

A program keeps the file `lock` in its folder locked. The lock ends with the program, however it ends, so that neither
the number of a process, which another may have by now, nor its container decides. Some file systems of clusters lock
files for one machine alone: what another machine has written is removed only after a day without a change.
"""

import fcntl
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SUFFIX, _LOCK = ".partial", "lock"
_ABANDONED = 24 * 60 * 60  # seconds without a change


@contextmanager
def working_folder(parent: Path | None = None) -> Iterator[Path]:
    """Yield a new hidden folder in `parent`, by default that for temporary files; it is removed when the block ends.

    What dead programs have left in `parent` is removed first. Folders in it are moved and counted as any other content,
    so they belong to this user alone.
    """
    parent = parent or Path(tempfile.gettempdir())
    for left_over in abandoned(parent):
        remove(left_over)
    folder = Path(tempfile.mkdtemp(f".{os.getpid()}{_SUFFIX}", f".panoptic.{platform.node()}.", parent))
    try:
        with _locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def abandoned(parent: Path) -> list[Path]:
    """Find what dead programs of this user have left in `parent`."""
    return [path for path in sorted(parent.glob(f".*{_SUFFIX}")) if _is_abandoned(path)]


def remove_at_once(folder: Path) -> None:
    """Remove a folder: a program that is killed meanwhile leaves all of it, or nothing by its name."""
    with working_folder(folder.parent) as hidden:
        folder.rename(hidden / folder.name)


def remove(path: Path) -> None:
    """Remove a file or folder, as far as that is possible; nothing needs it."""
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # Locked before it has its name, so that nobody finds it without its lock.
    unnamed = folder / f"new-{_LOCK}"
    with unnamed.open("wb") as file:
        with suppress(OSError):  # some file systems have no locks
            fcntl.flock(file, fcntl.LOCK_EX)
        unnamed.rename(folder / _LOCK)
        yield


def _is_abandoned(path: Path) -> bool:
    is_from_here = f".{platform.node()}." in path.name
    with suppress(OSError):
        if path.lstat().st_uid != os.geteuid():
            return False
        with (path / _LOCK).open("rb+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return is_from_here or _is_old(path)
    # Without a lock: it is being made right now, or was by a program that has been killed, or by an earlier version.
    return is_from_here and (not _lives(path.name.split(".")[-2]) or _is_old(path))


def _lives(process: str) -> bool:
    try:
        os.kill(int(process), 0)  # sends nothing
    except PermissionError:
        return True
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    return True


def _is_old(path: Path) -> bool:
    changes = [0.0]
    try:
        content = (path, *path.rglob("*"))
    except FileNotFoundError:  # its program has just removed it
        return False
    for found in content:
        with suppress(FileNotFoundError):
            changes.append(found.lstat().st_mtime)
    return time.time() - max(changes) > _ABANDONED
