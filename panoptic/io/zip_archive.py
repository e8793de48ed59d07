"""The files of a zip archive, under names in normal form, read in place by any number of processes."""

import os
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Protocol

from panoptic.io.errors import DatasetError
from panoptic.io.names import NameTable, checked_name, is_litter, normal_name, normal_text
from panoptic.io.reading import open_file, require_file
from panoptic.io.zip_entries import DAMAGE, UTF8, ZipEntry, entry_names, read_entry


class EntryLookup(Protocol):
    """Recorded entries of a zip archive by name. Can be pickled, and used after a fork."""

    def find(self, name: str) -> ZipEntry | None:
        """The entry of a file, or None if it is not recorded."""
        ...


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

    @property
    def table(self) -> NameTable[zipfile.ZipInfo]:
        return self._opened().table

    @property
    def prefix(self) -> str:
        """The folder in the archive to which names are relative; empty or with a `/` at the end."""
        return self._opened().prefix

    def names(self) -> tuple[str, ...]:
        return self.table.names

    def unusable(self) -> dict[str, str]:
        """The files beside the folder to which names are relative, and those whose names lead elsewhere."""
        beside = f"is not in '{self.prefix}', the folder of the archive's own name"
        return dict.fromkeys(self._opened().outside, beside) | self.table.refused

    def open(self, name: str) -> IO[bytes]:
        self.entry(name)
        if self._opened().owner != os.getpid():  # a shared file position would mix up reads
            self._directory = None
        try:
            return self._opened().archive.open(self._info(name))
        except DAMAGE as error:
            raise DatasetError(f"{self.path}: '{name}' is damaged ({error}); fetch it again") from None

    def read(self, name: str) -> bytes:
        entry = self._entries.find(checked_name(name, self.path)) if self._entries else None
        return read_entry(self._descriptor(), entry or self.entry(name), self.path)

    def entry(self, name: str) -> ZipEntry:
        """The entry of a file in the directory. Raises `DatasetError` if it is missing or unreadable."""
        # Named as it was asked for: the directory may show the name in a wrong encoding.
        return replace(ZipEntry.of(self._info(name), self.path), name=self.prefix + checked_name(name, self.path))

    def _info(self, name: str) -> zipfile.ZipInfo:
        found = self.table.find(checked_name(name, self.path))
        if found is None:
            missing = f"no file '{name}' inside{self.table.describe_similar(name)}"
            raise DatasetError(f"{self.path}: {missing}; add it or correct the name")
        return self.table.file(found)

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "_entries": self._entries, "_directory": None, "_file": None}

    def _opened(self) -> "_Directory":
        if self._directory is None:
            try:
                self._directory = _Directory.of(self.path)
            except DatasetError:
                raise
            except (zipfile.BadZipFile, NotImplementedError, ValueError, FileNotFoundError) as error:
                raise DatasetError(f"{self.path}: cannot be opened ({error}); fetch it again") from None
        return self._directory

    def _descriptor(self) -> int:
        if self._file is None:
            try:
                self._file = open_file(self.path)
            except FileNotFoundError:
                raise DatasetError(f"{self.path}: the archive is missing; fetch it again") from None
        return self._file.fileno()


@dataclass(frozen=True)
class _Directory:
    """The directory of an archive as the process `owner` has read it.

    `prefix` precedes all names of the table; `outside` are those of files but litter that do not have it.
    """

    archive: zipfile.ZipFile
    table: NameTable[zipfile.ZipInfo]
    prefix: str
    outside: tuple[str, ...]
    owner: int

    @classmethod
    def of(cls, path: Path) -> "_Directory":
        archive = zipfile.ZipFile(require_file(path))
        # A name that ends in a slash, or in the backslash of Windows, is that of a folder.
        files = [(_names(info), info) for info in archive.infolist() if not info.filename.endswith(("/", "\\"))]
        own_folder = f"{normal_text(path.stem)}/"
        inside = any(normal_name(name).startswith(own_folder) for names, _ in files for name in names)
        prefix = own_folder if inside else ""
        read = ([normal_name(name) for name in names] for names, _ in files)
        others = (names[0] for names in read if not any(name.startswith(prefix) for name in names))
        outside = tuple(name for name in others if not is_litter(name))
        return cls(archive, NameTable(str(path), files, prefix), prefix, outside, os.getpid())


def _names(info: zipfile.ZipInfo) -> tuple[str, ...]:
    if info.filename.isascii():
        return (info.filename,)
    is_utf8 = bool(info.flag_bits & UTF8)
    return entry_names(info.filename.encode("utf-8" if is_utf8 else "cp437"), info.extra, is_utf8)
