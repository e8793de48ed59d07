"""The zip of a submission as a container: which entries belong there, and reading one without a surprise.

Entries are judged by the zip's table, before any of them is read; nothing is ever unpacked to the disk.
"""

import stat
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from panoptic.io.errors import DatasetError, Issues
from panoptic.io.files import checked_name

# What zipfile raises for a damaged zip, or one that needs another program; `OSError` where it points out of the file.
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, UnicodeDecodeError)
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what every zip program reads


@dataclass(frozen=True)
class SubmissionContent:
    """The entries that belong in the zip: the JSON, and the PNGs by their names in the folder."""

    results: zipfile.ZipInfo | None
    masks: dict[str, zipfile.ZipInfo]


def sort_entries(entries: Iterable[zipfile.ZipInfo], stem: str, issues: Issues) -> SubmissionContent:
    """Tell the entries apart by what the zip's table says of them."""
    known: dict[str, zipfile.ZipInfo] = {}
    masks: dict[str, zipfile.ZipInfo] = {}
    strange: list[str] = []
    for entry in entries:
        with issues.collected():
            _check_entry(entry, stem)
            if entry.filename in known:
                raise DatasetError(f"'{entry.filename}' is in the zip twice; remove one")
            known[entry.filename] = entry
            folder, _, file_name = entry.filename.partition("/")
            if folder == stem and file_name.endswith(".png") and "/" not in file_name:
                masks[file_name] = entry
            elif entry.filename not in (f"{stem}.json", f"{stem}/"):
                strange.append(entry.filename)
    if strange:
        found = f"{len(strange)} entries ({shown_names(strange)}) are neither '{stem}.json' nor PNGs in '{stem}/'"
        issues.add(f"{found}; remove them, or move them there")
    results = known.get(f"{stem}.json")
    if results is None:
        issues.add(f"'{stem}.json' is missing; put it into the zip, in no folder")
    return SubmissionContent(results, masks)


def _check_entry(entry: zipfile.ZipInfo, stem: str) -> None:
    checked_name(entry.filename, Path(f"{stem}.zip"))
    if entry.flag_bits & 1:
        raise DatasetError(f"'{entry.filename}' is encrypted; write the zip without a password")
    if entry.compress_type not in _COMPRESSIONS:
        raise DatasetError(f"'{entry.filename}' is compressed by method {entry.compress_type}; use deflate, or none")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise DatasetError(f"'{entry.filename}' is a link; put the file itself into the zip")


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int) -> bytes:
    """The content of an entry, which may have `limit` bytes at most."""
    if entry.file_size > limit:
        raise DatasetError(f"'{entry.filename}' has {entry.file_size} bytes; no more than {limit} are to be expected")
    try:
        return archive.read(entry)
    except UNREADABLE as error:
        raise DatasetError(f"'{entry.filename}' is damaged ({error}); write the zip again") from None


def shown_names(names: Sequence[str]) -> str:
    """The first names of a list, for a message."""
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
