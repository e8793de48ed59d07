"""Files in and out: folders and zip archives read alike, and writing that never leaves half a file."""

import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from panoptic.errors import DatasetError


class FileSource(Protocol):
    """Files below one place, read by their relative name. May be pickled and used after a fork."""

    @property
    def path(self) -> Path: ...

    def names(self) -> tuple[str, ...]:
        """Every file's name, sorted, with `/` between folders."""
        ...

    def open(self, name: str) -> IO[bytes]:
        """Open one file to read. Raises `DatasetError` if it is missing or outside the source."""
        ...

    def read(self, name: str) -> bytes:
        """The content of one file."""
        ...


def open_files(path: Path) -> FileSource:
    """The files of a folder, or of a zip archive that is read in place.

    A zip whose entries lie below a folder of its own name (`val2017/1.jpg` in `val2017.zip`) is read from there,
    so that archive and unpacked folder give the same names. The archive `<path>.zip` stands in for a missing folder.
    """
    path = folder_or_archive(path)
    if path.is_dir():
        return Folder(path)
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such folder or zip file; check the path")
    if not zipfile.is_zipfile(path):
        raise DatasetError(f"{path}: neither a folder nor a zip file; give one of the two")
    return ZipArchive(path)


def folder_or_archive(path: Path) -> Path:
    """`path` itself, or, where nothing is there but the archive `<path>.zip` is, that archive."""
    archive = path.with_name(f"{path.name}.zip")
    return archive if archive.is_file() and not path.exists() else path


class Folder:
    """Files of a folder. Links are followed: DVC may link files into its cache."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> tuple[str, ...]:
        files = (entry for entry in self.path.rglob("*") if entry.is_file())
        return tuple(sorted(entry.relative_to(self.path).as_posix() for entry in files))

    def open(self, name: str) -> IO[bytes]:
        try:
            return (self.path / checked_name(name, self.path)).open("rb")
        except (FileNotFoundError, IsADirectoryError):
            raise DatasetError(f"{self.path / name}: the file is missing; add it") from None

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            return file.read()


class ZipArchive:
    """Files of a zip archive. Each process opens it for itself: a shared file position would mix up reads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._archive: zipfile.ZipFile | None = None
        self._owner = 0
        own_folder = f"{path.stem}/"
        inside = any(entry.startswith(own_folder) for entry in self._opened().namelist())
        self._prefix = own_folder if inside else ""

    def names(self) -> tuple[str, ...]:
        entries = (entry for entry in self._opened().namelist() if entry.startswith(self._prefix))
        return tuple(sorted(entry.removeprefix(self._prefix) for entry in entries if not entry.endswith("/")))

    def open(self, name: str) -> IO[bytes]:
        try:
            return self._opened().open(self._prefix + checked_name(name, self.path))
        except KeyError:
            raise DatasetError(f"{self.path}: no file '{name}' inside; add it or correct the name") from None

    def read(self, name: str) -> bytes:
        try:
            with self.open(name) as file:
                return file.read()
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise DatasetError(f"{self.path}: '{name}' is damaged ({error}); fetch it again") from None

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "_prefix": self._prefix, "_archive": None, "_owner": 0}

    def _opened(self) -> zipfile.ZipFile:
        if self._archive is None or self._owner != os.getpid():
            try:
                self._archive = zipfile.ZipFile(self.path)
            except (zipfile.BadZipFile, FileNotFoundError) as error:
                raise DatasetError(f"{self.path}: cannot be opened ({error}); fetch it again") from None
            self._owner = os.getpid()
        return self._archive


def checked_name(name: str, place: Path) -> str:
    """Return `name` if it stays below `place`; raise `DatasetError` otherwise."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        raise DatasetError(f"{place}: the file name {name!r} leaves the folder; use a plain relative name")
    return name


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Give a path to write a file or folder at, and move it to `path` when the block ends without an error.

    Parents are created. After a failure the old file or folder is untouched and nothing new is left over.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
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
    """Write `data` to `path`; after a failure or a kill the file still holds what it held before.

    Raises `OSError` naming `path` when the disk refuses, for example because it is full.
    """
    with replace_atomically(path) as partial, naming_disk_errors(path), partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def naming_disk_errors(path: Path) -> Iterator[None]:
    """Make an `OSError` say what could not be written; a full disk alone does not name the file."""
    try:
        yield
    except OSError as error:
        message = f"could not write {path}: {error.strerror or error}; free disk space or choose another place"
        raise OSError(error.errno, message) from error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
