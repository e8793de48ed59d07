"""One form for the names of files, so that a name in a JSON finds its file whatever system wrote either of them.

A name in normal form has `/` between folders, no empty or `.` parts, and its characters composed (Unicode NFC): Windows
writes `images\\a.png`, some tools `./a.png`, and macOS decomposes `é` into two characters. Both the names that are
looked for and those of files are compared in this form.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from posixpath import commonprefix, splitext
from typing import Generic, TypeVar

from panoptic.io.errors import DatasetError, shown_ids

File_co = TypeVar("File_co", covariant=True)

# Files and folders of macOS, Windows, Linux, network disks, version control and Jupyter, in lower case.
_LITTER = frozenset(
    (
        *("__macosx", ".ds_store", ".trashes", ".spotlight-v100", ".fseventsd", ".appledouble"),
        *(".temporaryitems", ".documentrevisions-v100", ".volumeicon.icns", ".apdisk"),
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
        *("@eadir", "@synoresource", "#recycle", "#snapshot", ".snapshot", "@recycle", ".@__thumb", ".stversions"),
        *(".trash", ".thumbnails", "lost+found", ".ipynb_checkpoints", ".git", ".svn", ".dvc"),
    )
)
# Of names in archives or file systems that do not tell theirs: UTF-8; the code page of the first IBM PC, which zip
# files have by default and which decodes anything; and those of Windows, DOS and Unix in other countries.
_ENCODINGS = (
    *("utf-8", "cp437", "cp850", "cp1252", "gb18030", "cp932", "cp949", "cp950", "cp866", "cp1251", "cp852", "cp1250"),
    *("cp737", "cp1253", "cp857", "cp1254", "cp862", "cp1255", "cp720", "cp1256", "cp775", "cp1257", "cp1258", "cp874"),
    *("euc_jp", "koi8_r"),
)
# No file system takes longer parts, and none of its programs deeper folders.
_MOST_FOLDERS, _LONGEST_PART = 100, 255
_DRIVE = re.compile(r"[A-Za-z]:/")
# As almost all are: short, in few folders, and without what the other checks look for.
_PLAIN = re.compile(r"(?!.*\.\.)[\w-][\w ./-]{0,99}", re.ASCII)


def normal_text(text: str) -> str:
    """Return a text with composed characters (NFC), for comparing names of classes or files that look the same."""
    return unicodedata.normalize("NFC", text)


def normal_name(name: str) -> str:
    """Return the normal form of a file name; one that leaves its folder still does."""
    framed = f"/{name}/"
    if name.isascii() and "\\" not in name and "//" not in framed and "/./" not in framed:
        return name  # as almost all are: an archive may hold a hundred thousand
    path = normal_text(name.replace("\\", "/"))
    parts = "/".join(part for part in path.split("/") if part not in ("", "."))
    return f"/{parts}" if path.startswith("/") else parts


def checked_name(name: str, folder: Path) -> str:
    """Return the normal form of `name` if it stays below `folder`; raise `DatasetError` otherwise."""
    normal = normal_name(name)
    if issue := name_issue(normal):
        shown = repr(name) if len(name) <= _LONGEST_PART else f"'{name[:40]}...'"
        raise DatasetError(f"{folder}: the file name {shown} {issue}")
    return normal


def name_issue(normal: str) -> str:
    """Say why no file is read or written that has a name in normal form, and what to do; empty if files are."""
    if _PLAIN.fullmatch(normal):
        return ""
    parts = normal.split("/")
    if not normal or normal.startswith("/") or _DRIVE.match(normal) or ".." in parts or "\0" in normal:
        return "leaves the folder; use a plain relative name"
    longest = max(len(part.encode(errors="replace")) for part in parts)
    if len(parts) > _MOST_FOLDERS or longest > _LONGEST_PART:
        found = f"is {len(parts) - 1} folders deep, with parts of up to {longest} bytes"
        most = f"at most {_MOST_FOLDERS - 1} folders and {_LONGEST_PART} bytes are read"
        return f"{found}; {most}, so give it a shorter name"
    return ""


def is_litter(name: str) -> bool:
    """Tell whether a file is not data but something that an operating system left behind, or is in such a folder."""
    folders = name.lower().split("/")
    # A user's trash has the user's number behind its name.
    trashed = any(folder.startswith(".trash-") for folder in folders)
    return trashed or folders[-1].startswith("._") or not _LITTER.isdisjoint(folders)


def decoded_names(raw: bytes) -> tuple[str, ...]:
    """Decode a name of unknown encoding to all that it may be, the likeliest first."""
    names: dict[str, None] = {}
    for encoding in _ENCODINGS:
        with suppress(UnicodeDecodeError):
            names[raw.decode(encoding)] = None
    return tuple(names)


class AmbiguousName(DatasetError):
    """A name that several files have."""


class NameTable(Generic[File_co]):
    """The files of a folder or archive by their names in normal form.

    A file has several names if their encoding is unknown; the first is shown, and it is found by any of them.
    """

    def __init__(self, where: str, files: Iterable[tuple[Sequence[str], File_co]], below: str = "") -> None:
        """Each file comes with its names; only those `below` a folder, such as `val/`, are kept, without that folder.

        Raises `AmbiguousName` for two files of one name, in a message that `where` precedes.
        """
        self._where = where
        self._files: dict[str, File_co] = {}
        self._written: dict[str, str] = {}
        self._aliases: dict[str, set[str]] = defaultdict(set)
        self.refused: dict[str, str] = {}
        """Why files are left out whose names lead elsewhere, or are too long."""
        for written, file in files:
            names = [name.removeprefix(below) for name in map(normal_name, written) if name.startswith(below)]
            if not names:
                continue
            name, *others = names
            if issue := name_issue(name):
                self.refused[name] = issue
                continue
            if self._written.setdefault(name, written[0]) != written[0]:
                raise self._ambiguous(name, (self._written[name], written[0]))
            self._files[name] = file
            for other in others:
                self._aliases[other].add(name)

    @property
    def undecided(self) -> frozenset[str]:
        """The names of files whose encoding is unknown."""
        return frozenset[str]().union(*self._aliases.values())

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of all files but litter, sorted."""
        return tuple(sorted(name for name in self._files if not is_litter(name)))

    def find(self, name: str) -> str | None:
        """Return the entry of `names`, or of litter, that `name` means; None if there is none.

        Raises `AmbiguousName` if `name` fits several files in different encodings.
        """
        name = normal_name(name)
        found = {name} if name in self._files else self._aliases.get(name, set())
        if len(found) > 1:
            raise self._ambiguous(name, sorted(found))
        return next(iter(found), None)

    def file(self, name: str) -> File_co:
        """Return the file of a name that `find` has returned."""
        return self._files[name]

    def similar(self, name: str) -> tuple[str, ...]:
        """Return the files that a missing `name` may mean: its name in upper or lower case, or in another folder.

        Of several, those are returned that share the longest end of the path; `name` may leave the folder.
        """
        parts = normal_name(name).split("/")
        candidates = self._by_last_part.get(parts[-1].casefold(), ())
        ranks = {candidate: _likeness(parts, candidate.split("/")) for candidate in candidates}
        best = max(ranks.values(), default=None)
        return tuple(candidate for candidate, rank in ranks.items() if rank == best)

    def describe_similar(self, name: str) -> str:
        """Say where a missing file may be instead, as the end of a message; empty if nothing is similar."""
        found = self.similar(name) or self._by_stem.get(splitext(normal_name(name))[0], ())
        shown = shown_ids([f"'{other}'" for other in found], 3)
        return f", but {shown} {'is' if len(found) == 1 else 'are'} there" if found else ""

    @cached_property
    def _by_last_part(self) -> Mapping[str, Sequence[str]]:
        return _grouped(self.names, lambda name: name.rpartition("/")[2].casefold())

    @cached_property
    def _by_stem(self) -> Mapping[str, Sequence[str]]:
        return _grouped(self.names, lambda name: splitext(name)[0])

    def _ambiguous(self, name: str, files: Sequence[str]) -> AmbiguousName:
        shown = " and ".join(ascii(file) for file in files)  # in print they may look the same
        return AmbiguousName(f"{self._where}: the files {shown} have the same name, '{name}'; rename one")


def _grouped(names: Iterable[str], key: Callable[[str], str]) -> Mapping[str, Sequence[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[key(name)].append(name)
    return groups


def _likeness(wanted: Sequence[str], found: Sequence[str]) -> tuple[bool, int, int]:
    """Rank a similar path: first by being equal but for case, then by the length of the common end, ignoring case."""
    exact = [list(reversed(parts)) for parts in (wanted, found)]
    lower = [[part.casefold() for part in parts] for parts in exact]
    return lower[0] == lower[1], len(commonprefix(lower)), len(commonprefix(exact))
