"""The files of a folder by their names in normal form; what is no plain file is refused, and never waited for."""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import IO

from panoptic.io.errors import DatasetError
from panoptic.io.names import NameTable, checked_name, decoded_names, is_litter, name_issue, normal_name, normal_text
from panoptic.io.reading import FOLDER, describe_unusable, open_file
from panoptic.io.zip_entries import LARGEST_BYTES


class Folder:
    """The files of a folder. Links are followed, because DVC may link files to its cache."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def table(self) -> NameTable[str]:
        """All files, as they were when it was first needed, with their paths below the folder."""
        files = (name for name, unusable in self._listed if not unusable)
        return NameTable(str(self.path), ((_names(name), name) for name in files))

    @cached_property
    def _listed(self) -> tuple[tuple[str, str], ...]:
        return tuple(walk(self.path))

    def names(self) -> tuple[str, ...]:
        return self.table.names

    def unusable(self) -> dict[str, str]:
        # Asked of each file only here, because it takes a call of the system.
        found = ((_names(name)[0], why or describe_unusable(self.path / name)) for name, why in self._listed)
        named = ((name, why or name_issue(normal_name(name))) for name, why in found)
        return {name: why for name, why in named if why and not is_litter(name)}

    def path_of(self, name: str) -> Path:
        """The path of a file. Raises `DatasetError` if it is missing or outside the folder."""
        name = checked_name(name, self.path)
        path = self.path / name
        try:
            path.stat()
            if name.isascii():  # others may be written in several ways
                return path
        except (NotADirectoryError, ValueError) as error:
            raise DatasetError(f"{self.path}: no file has the name {name!r} ({error}); correct the name") from None
        except OSError:
            pass
        found = self.table.find(name)
        if found is not None:
            return self.path / self.table.file(found)
        missing = describe_unusable(path) or f"the file is missing{self.table.describe_similar(name)}"
        raise DatasetError(f"{path}: {missing}; add it, or correct its name")

    def open(self, name: str) -> IO[bytes]:
        return open_file(self.path_of(name))

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            size = os.fstat(file.fileno()).st_size
            if size > LARGEST_BYTES:
                found = f"has {size} bytes, but at most {LARGEST_BYTES} are read"
                raise DatasetError(f"{self.path / name}: {found}; give a smaller file")
            return file.read()

    def __reduce__(self) -> tuple[object, ...]:
        return Folder, (self.path,)


def _names(name: str) -> tuple[str, ...]:
    """What the name of a file may be: itself if it is UTF-8, as almost all are."""
    raw = os.fsencode(name)
    try:
        return (raw.decode(),)
    except UnicodeDecodeError:
        return decoded_names(raw)


def walk(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the path below `folder` of everything in it but folders, and why it cannot be used; empty for files.

    Links to folders are followed, except back to one that is being listed. Litter is not left out.
    """
    state = folder.stat()
    yield from _walk(os.fspath(folder), "", ((state.st_dev, state.st_ino),))


def _walk(folder: str, below: str, within: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, str]]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        if not below:
            raise
        yield below.rstrip("/"), f"cannot be listed ({error.strerror})"
        return
    for entry in entries:
        name = f"{below}{entry.name}"
        if entry.is_file(follow_symlinks=False):
            yield name, ""
            continue
        path = Path(entry.path)
        unusable = describe_unusable(path)
        if unusable != FOLDER:
            yield name, unusable
            continue
        state = path.stat()
        if (identity := (state.st_dev, state.st_ino)) not in within:
            yield from _walk(entry.path, f"{name}/", (*within, identity))


def spelled_on_disk(path: Path) -> Path:
    """Return the path that differs from `path` only in composed characters if that exists and `path` does not."""
    if str(path).isascii() or path.exists():
        return path
    parent = spelled_on_disk(path.parent)
    if not parent.is_dir():
        return path
    same = [entry for entry in parent.iterdir() if normal_text(entry.name) == normal_text(path.name)]
    return same[0] if len(same) == 1 else path
