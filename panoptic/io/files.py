"""Reading folders and zip archives alike, and writing that never leaves half a file behind."""

import os
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Protocol

from panoptic.io.errors import HINTS, DatasetError, shortened
from panoptic.io.folder import Folder, spelled_on_disk
from panoptic.io.names import NameTable
from panoptic.io.reading import FOLDER, describe_special, describe_unusable
from panoptic.io.working_folder import working_folder
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


class Replacement:
    """New files and folders that replace those of an earlier run together; `write_together` makes it."""

    def __init__(self, working: ExitStack) -> None:
        self._working, self._by_parent = working, dict[Path, Path]()
        self._moves: list[_Move] = []

    def file(self, path: Path) -> Path:
        """Return the path to write a new file to. Raises `ValueError` if there is something that no file replaces."""
        found = describe_special(path)
        if found:
            raise ValueError(f"{path}: {found}, which no file replaces; name another file to write")
        return self.place(path)

    def require(self, paths: Iterable[Path]) -> None:
        """Refuse files that cannot be written, before the work that makes their contents. Raises like `file`."""
        for path in paths:
            self.file(path)

    def write(self, path: Path, data: bytes) -> None:
        """Write a new file, down to the disk. Raises like `file`, and `OSError` that names `path`."""
        required = (move.new for move in self._moves if move.path == path and not move.new.exists())
        new = next(required, None) or self.file(path)
        with naming_disk_errors(path), new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def folder(self, path: Path) -> Path:
        """Return a new empty folder to fill. One that is a link, as to a larger disk, or a mount point stays that.

        Raises `ValueError` if there is something that is no folder.
        """
        if path.exists() and not path.is_dir():
            raise ValueError(f"{path}: is no folder; remove it, or name another folder to write")
        new = self.place(path, is_kept=path.is_symlink() or path.is_mount())
        with naming_disk_errors(path):
            new.mkdir()
        return new

    def place(self, path: Path, is_kept: bool = False) -> Path:
        """Return the path to write a new file or folder to; of a folder that `is_kept`, only the content is replaced.

        Raises `ValueError` for the current folder, which cannot be replaced, and for a path that is given twice.
        """
        if path.name in ("", ".."):
            raise ValueError(f"{path}: cannot be replaced; name a file or folder in it")
        with naming_disk_errors(path):
            with suppress(FileNotFoundError, NotADirectoryError):
                path.lstat()  # refuses a name that is too long
            parent = Path(os.path.realpath(path if is_kept else path.parent))
            self._make(parent, is_kept)
            if parent not in self._by_parent:
                self._by_parent[parent] = self._working.enter_context(working_folder(parent))
        if any((move.path.name, move.new.parent) == (path.name, self._by_parent[parent]) for move in self._moves):
            raise ValueError(f"{path}: is to be written twice; name two files")
        # Not under its name, by which other programs may look for what is complete.
        new, old = (self._by_parent[parent] / f"{name}-{len(self._moves)}" for name in ("new", "old"))
        self._moves.append(_Move(path, new, old, is_kept))
        return new

    def _make(self, folder: Path, is_kept: bool) -> None:
        """Make a folder; what was made is removed at the end if nothing is in it."""
        missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        folder.mkdir(parents=not is_kept, exist_ok=True)
        for parent in reversed(missing):
            self._working.callback(_remove_if_empty, parent)

    def finish(self) -> None:
        """Move everything to its path, or nothing if the disk refuses."""
        for move in self._moves:
            if move.path.is_dir() and not move.new.is_dir():
                raise ValueError(f"{move.path}: {FOLDER}, which no file replaces; name another file to write")
        moves = [single for move in self._moves for single in move.singles()]
        if len(moves) == 1 and not moves[0].path.is_dir():
            with naming_disk_errors(moves[0].path):
                moves[0].new.replace(moves[0].path)
            return
        with ExitStack() as undo:
            # All that is old goes first: a kill in between leaves nothing new beside something old.
            for move in moves:
                _rename(move.path, move.old, move.path, undo)
            for move in moves:
                _rename(move.new, move.path, move.path, undo)
            undo.pop_all()


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


@dataclass(frozen=True)
class _Move:
    """What is written at `new` and goes to `path`, from where the earlier goes to `old`; or the content of each."""

    path: Path
    new: Path
    old: Path
    is_kept: bool = False

    def singles(self) -> "list[_Move]":
        """This move, or that of each file and folder inside."""
        if not self.is_kept:
            return [self]
        self.old.mkdir()
        found = {entry.name for folder in (self.path, self.new) for entry in folder.iterdir()}
        names = sorted(found - {self.new.parent.name})
        return [_Move(self.path / name, self.new / name, self.old / name) for name in names]


def _rename(source: Path, target: Path, where: Path, undo: ExitStack) -> None:
    """Rename what is at `source`, if anything, and let `undo` rename it back."""
    if os.path.lexists(source):
        with naming_disk_errors(where):
            source.rename(target)
        undo.callback(target.rename, source)


@contextmanager
def write_together() -> Iterator[Replacement]:
    """Yield what collects new files and folders, which replace the earlier ones when the block ends without an error.

    After an error all earlier ones are untouched, and nothing new is left behind. A kill at the moment of replacement
    may leave some missing, but never old ones beside new ones. Parents are created.
    """
    with ExitStack() as working:
        replacement = Replacement(working)
        yield replacement
        replacement.finish()


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill, which replaces the one at `path` like `write_together`."""
    with write_together() as replacement:
        yield replacement.folder(path)


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Yield a path to write a file or folder to, which replaces the one at `path` like `write_together`."""
    with write_together() as replacement:
        yield replacement.place(path)


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`; after an error or a kill the file still has its old content.

    Raises `OSError` that names `path` if the disk refuses, for example because it is full.
    """
    with write_together() as replacement:
        replacement.write(path, data)


@contextmanager
def naming_disk_errors(path: Path) -> Iterator[None]:
    """Make an `OSError` name the file that could not be written; that of a full disk does not."""
    try:
        yield
    except OSError as error:
        hint = HINTS.get(error.errno or 0, "choose another folder")
        raise OSError(error.errno, f"could not write {shortened(path)}: {error.strerror or error}; {hint}") from error
