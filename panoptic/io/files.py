"""Reading folders and zip archives alike, and writing that never leaves half a file behind."""

import os
import platform
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Protocol

from panoptic.io.errors import DatasetError
from panoptic.io.folder import Folder, describe_unusable, spelled_on_disk
from panoptic.io.names import NameTable
from panoptic.io.zip_archive import EntryLookup, ZipArchive


class FileSource(Protocol):
    """Files of a folder or archive, read by their relative names. Can be pickled, and used after a fork.

    Names are compared in the normal form of `panoptic.io.names`.
    """

    @property
    def path(self) -> Path: ...

    @property
    def table(self) -> NameTable[object]:
        """All files by name. Raises `DatasetError` if two files have the same name."""
        ...

    def names(self) -> tuple[str, ...]:
        """The name of every file but litter, sorted. Raises `DatasetError` like `table`."""
        ...

    def unusable(self) -> dict[str, str]:
        """What was found beside the files and cannot be read, such as dangling links: why not, by name."""
        ...

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading. Raises `DatasetError` if it is missing or outside the source."""
        ...

    def read(self, name: str) -> bytes:
        """Read a whole file. Raises `DatasetError` like `open`, and for a damaged or absurdly large file."""
        ...


def open_files(path: Path, entries: EntryLookup | None = None) -> FileSource:
    """Open the files of a folder, or of a zip archive that is read in place.

    With `entries` the directory of an archive is not read, which saves a second and 70 MB at 120 000 entries. Files
    that are not recorded there are still found, and reading notices if the archive has changed since.

    If an archive has a folder of its own name (`val2017/1.jpg` in `val2017.zip`), names are relative to that folder, so
    that an archive and its unpacked folder have the same names; files beside it are `unusable`. The archive
    `<path>.zip` stands in for a missing folder. Raises `DatasetError` if there is neither, or the archive is damaged.
    """
    path = folder_or_archive(path)
    if path.is_dir():
        return Folder(path)
    if not path.is_file() or describe_unusable(path):
        missing = describe_unusable(path) or "there is no such folder or zip file"
        raise DatasetError(f"{path}: {missing}; check the path")
    if not zipfile.is_zipfile(path):
        raise DatasetError(f"{path}: neither a folder nor a zip file; give one of the two")
    return ZipArchive(path, entries)


def opened_files(path: Path) -> FileSource:
    """Like `open_files`, but kept open: a process that reads single files reads an archive's directory once."""
    try:
        state = path.stat()
    except FileNotFoundError:
        return open_files(path)
    return _opened_in_state(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _opened_in_state(path: Path, *state: int) -> FileSource:
    return open_files(path)


def folder_or_archive(path: Path) -> Path:
    """Return `path`, or the archive `<path>.zip` if that exists and `path` does not, both like `spelled_on_disk`."""
    path = spelled_on_disk(path)
    archive = spelled_on_disk(path.parent / f"{path.name}.zip")  # `with_name` refuses the folder `.`
    return archive if archive.is_file() and not path.exists() else path


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Yield a path to write a file or folder to, and move it to `path` when the block ends without an error.

    Parents are created. After an error the old file or folder is untouched and nothing new is left behind. Raises
    `ValueError` for the current folder, which cannot be replaced.
    """
    if path.name in ("", ".."):
        raise ValueError(f"{path}: cannot be replaced; name a file or folder in it")
    # On a shared disk, programs on two machines may have the same process id.
    partial = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}.partial")
    with naming_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)  # left by a killed run that had the same process id
    try:
        yield partial
        with naming_disk_errors(path):
            if path.is_dir() and partial.is_dir():
                shutil.rmtree(path)
            partial.replace(path)
    finally:
        _remove(partial)


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`; after an error or a kill the file still has its old content.

    Raises `OSError` that names `path` if the disk refuses, for example because it is full.
    """
    with replace_atomically(path) as partial, naming_disk_errors(path), partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def naming_disk_errors(path: Path) -> Iterator[None]:
    """Make an `OSError` name the file that could not be written; that of a full disk does not."""
    try:
        yield
    except OSError as error:
        message = f"could not write {path}: {error.strerror or error}; free disk space or choose another folder"
        raise OSError(error.errno, message) from error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
