"""The container of a submission: which entries belong in the zip, and reading one safely.

Entries are checked against the zip's directory before any of them is read; nothing is ever unpacked to disk.
"""

import stat
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from panoptic.io.errors import DatasetError, Issues, shown_ids
from panoptic.io.names import checked_name, is_litter
from panoptic.io.zip_entries import require_known_packing

# Errors of zipfile for damaged and unsupported zips; `OSError` for offsets outside the file.
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, UnicodeDecodeError)


@dataclass(frozen=True)
class SubmissionContent:
    """The entries that belong in the zip: the JSON, and the PNGs by file name."""

    results: zipfile.ZipInfo | None
    masks: dict[str, zipfile.ZipInfo]


def sort_entries(entries: Iterable[zipfile.ZipInfo], stem: str, issues: Issues) -> SubmissionContent:
    """Sort the entries of the zip's directory into JSON and PNGs; adds all others but litter to `issues`."""
    known: dict[str, zipfile.ZipInfo] = {}
    masks: dict[str, zipfile.ZipInfo] = {}
    unexpected: list[str] = []
    for entry in entries:
        if is_litter(entry.filename):
            continue
        with issues.collected():
            _check_entry(entry, stem)
            if entry.filename in known:
                raise DatasetError(f"'{entry.filename}' is in the zip twice; remove one")
            known[entry.filename] = entry
            folder, _, file_name = entry.filename.partition("/")
            if folder == stem and file_name.endswith(".png") and "/" not in file_name:
                masks[file_name] = entry
            elif entry.filename not in (f"{stem}.json", f"{stem}/"):
                unexpected.append(entry.filename)
    if unexpected:
        found = (
            f"{len(unexpected)} entries ({shown_ids(unexpected, 5)}) are neither '{stem}.json' nor PNGs in '{stem}/'"
        )
        issues.add(f"{found}; remove them, or move them there")
    results = known.get(f"{stem}.json")
    if results is None:
        issues.add(f"'{stem}.json' is missing; add it to the root of the zip")
    return SubmissionContent(results, masks)


def _check_entry(entry: zipfile.ZipInfo, stem: str) -> None:
    archive = Path(f"{stem}.zip")
    checked_name(entry.filename, archive)
    require_known_packing(entry, archive)  # `read_entry` limits its size: JSON may be larger than any image
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise DatasetError(f"'{entry.filename}' is a link; add the file itself to the zip")


def read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int) -> bytes:
    """Read an entry of at most `limit` bytes. Raises `DatasetError` for a larger or damaged one."""
    if entry.file_size > limit:
        raise DatasetError(f"'{entry.filename}' has {entry.file_size} bytes; expected at most {limit}")
    try:
        return archive.read(entry)
    except UNREADABLE as error:
        raise DatasetError(f"'{entry.filename}' is damaged ({error}); write the zip again") from None
