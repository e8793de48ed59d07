"""Reading folders and zip archives alike, and writing that never leaves half a file behind."""

import os
import platform
import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from panoptic.io.errors import DatasetError
from panoptic.io.zip_entries import LARGEST_BYTES, ZipEntry, read_entry


class FileSource(Protocol):
    """Files of a folder or archive, read by their relative names. Can be pickled, and used after a fork."""

    @property
    def path(self) -> Path: ...

    def names(self) -> tuple[str, ...]:
        """The name of every file, sorted, with `/` between folders."""
        ...

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading. Raises `DatasetError` if it is missing or outside the source."""
        ...

    def read(self, name: str) -> bytes:
        """Read a whole file. Raises `DatasetError` like `open`, and for a damaged or absurdly large file."""
        ...


class EntryLookup(Protocol):
    """Recorded entries of a zip archive by name. Can be pickled, and used after a fork."""

    def find(self, name: str) -> ZipEntry | None:
        """The entry of a file, or None if it is not recorded."""
        ...


def open_files(path: Path, entries: EntryLookup | None = None) -> FileSource:
    """Open the files of a folder, or of a zip archive that is read in place.

    With `entries` the directory of an archive is not read, which saves a second and 70 MB at 120 000 entries. Files
    that are not recorded there are still found, and reading notices if the archive has changed since.

    If all entries of an archive are below a folder of its own name (`val2017/1.jpg` in `val2017.zip`), names are
    relative to that folder, so that an archive and its unpacked folder have the same names. The archive `<path>.zip`
    stands in for a missing folder. Raises `DatasetError` if there is neither, or the archive is damaged.
    """
    path = folder_or_archive(path)
    if path.is_dir():
        return Folder(path)
    if not path.is_file():
        raise DatasetError(f"{path}: there is no such folder or zip file; check the path")
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
    """Return `path`, or the archive `<path>.zip` if that exists and `path` does not."""
    archive = path.with_name(f"{path.name}.zip")
    return archive if archive.is_file() and not path.exists() else path


class Folder:
    """The files of a folder. Links are followed, because DVC may link files to its cache."""

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
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_BYTES:
                size = f"{found.st_size} bytes, or no plain file"
                raise DatasetError(f"{self.path / name}: {size}; at most {LARGEST_BYTES} are read, replace the file")
            return file.read()


class ZipArchive:
    """The files of a zip archive. Any number of processes and threads can `read` whole files at once."""

    def __init__(self, path: Path, entries: EntryLookup | None = None) -> None:
        """Raises `DatasetError` if the directory is damaged, which is read at once unless `entries` are given."""
        self.path = path
        self._entries = entries
        self._directory: _Directory | None = None
        self._file: IO[bytes] | None = None
        if entries is None:
            self._opened()

    def names(self) -> tuple[str, ...]:
        directory = self._opened()
        entries = (entry for entry in directory.archive.namelist() if entry.startswith(directory.prefix))
        return tuple(sorted(entry.removeprefix(directory.prefix) for entry in entries if not entry.endswith("/")))

    def open(self, name: str) -> IO[bytes]:
        self.entry(name)
        directory = self._opened()
        if directory.owner != os.getpid():  # a shared file position would mix up reads
            self._directory = None
            directory = self._opened()
        try:
            return directory.archive.open(directory.prefix + name)
        except zipfile.BadZipFile as error:
            raise DatasetError(f"{self.path}: '{name}' is damaged ({error}); fetch it again") from None

    def read(self, name: str) -> bytes:
        entry = self._entries.find(checked_name(name, self.path)) if self._entries else None
        return read_entry(self._descriptor(), entry or self.entry(name), self.path)

    def entry(self, name: str) -> ZipEntry:
        """The entry of a file in the directory. Raises `DatasetError` if it is missing or unreadable."""
        directory = self._opened()
        try:
            info = directory.archive.getinfo(directory.prefix + checked_name(name, self.path))
        except KeyError:
            raise DatasetError(f"{self.path}: no file '{name}' inside; add it or correct the name") from None
        return ZipEntry.of(info, self.path)

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "_entries": self._entries, "_directory": None, "_file": None}

    def _opened(self) -> "_Directory":
        if self._directory is None:
            try:
                self._directory = _Directory.of(self.path)
            except (zipfile.BadZipFile, NotImplementedError, ValueError, FileNotFoundError) as error:
                raise DatasetError(f"{self.path}: cannot be opened ({error}); fetch it again") from None
        return self._directory

    def _descriptor(self) -> int:
        if self._file is None:
            try:
                self._file = self.path.open("rb", buffering=0)
            except FileNotFoundError:
                raise DatasetError(f"{self.path}: the archive is missing; fetch it again") from None
        return self._file.fileno()


@dataclass(frozen=True)
class _Directory:
    """The directory of an archive as the process `owner` has read it; `prefix` precedes all names."""

    archive: zipfile.ZipFile
    prefix: str
    owner: int

    @classmethod
    def of(cls, path: Path) -> "_Directory":
        archive, own_folder = zipfile.ZipFile(path), f"{path.stem}/"
        inside = any(entry.startswith(own_folder) for entry in archive.namelist())
        return cls(archive, own_folder if inside else "", os.getpid())


def checked_name(name: str, folder: Path) -> str:
    """Return `name` if it stays below `folder`; raise `DatasetError` otherwise."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        raise DatasetError(f"{folder}: the file name {name!r} leaves the folder; use a plain relative name")
    return name


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Yield a path to write a file or folder to, and move it to `path` when the block ends without an error.

    Parents are created. After an error the old file or folder is untouched and nothing new is left behind.
    """
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
