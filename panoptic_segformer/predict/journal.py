"""The journal of a folder of results, by which a killed run resumes and nothing is overwritten unasked.

`journal.jsonl` has a line on weights and settings, one for each image that is done, with all that the final JSON files
say about it, and one when a run is finished. Lines are only appended, so a kill costs no more than the last one.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock
from typing import IO

from panoptic.io.errors import DatasetError, shown_ids
from panoptic.io.files import naming_disk_errors, write_atomically
from panoptic.io.json_fields import JsonObject, parse_json
from panoptic.io.names import checked_name
from panoptic.io.reading import read_file
from panoptic.runtime.fingerprint import bytes_digest

JOURNAL = "journal.jsonl"
JsonFields = Mapping[str, object]
_OTHERS = ("panoptic.json", "panoptic", "overlays", "labelme", "videos", "instances.json")


@dataclass(frozen=True)
class Entry:
    """An image or a video that is done: its origin, its files below the folder, and its part of the JSON files.

    `image` has its name, height and width, and is empty for a video; `labelme` is the SHA-256 of its LabelMe file as
    it was written, empty without one; `instances` are None where they were not asked for.
    """

    name: str
    origin: str
    identity: str
    files: tuple[str, ...]
    image: JsonFields = field(default_factory=dict)
    labelme: str = ""
    segments: Sequence[JsonFields] = ()
    instances: Sequence[JsonFields] | None = None

    @classmethod
    def from_json(cls, line: JsonObject) -> "Entry":
        """Read a line of the journal. Raises `DatasetError` for any other."""
        return cls(
            line.text("name"),
            line.text("origin"),
            line.text("identity"),
            tuple(map(str, line.identifiers("files"))),
            dict(line.child("image").values),
            line.text("labelme"),
            [segment.values for segment in line.objects("segments")],
            [instance.values for instance in line.objects("instances")] if line.has("instances") else None,
        )


@dataclass(frozen=True)
class _Header:
    """Identity of everything that decides the results of a folder: a fingerprint, and the same in words."""

    settings: str
    described: str
    overwrites: bool


class Journal:
    """The results in a folder; `open_journal` makes one."""

    def __init__(self, path: Path, header: _Header, entries: dict[str, Entry]) -> None:
        self.entries = entries
        lines = [asdict(header), *map(asdict, entries.values())]
        # Written as a whole: a kill may have cut off the last line.
        write_atomically(path, b"".join(map(_encoded, lines)))
        self._path = path
        self._file: IO[bytes] | None = None
        self._lock = Lock()

    def add(self, entry: Entry) -> None:
        """Note that an image is done. Threads may do so at the same time."""
        with self._lock:
            self.entries[entry.name] = entry
            self._append(asdict(entry))

    def finish(self) -> None:
        """Note that everything of a run is done."""
        self._append({"finished": True})

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _append(self, line: dict[str, object]) -> None:
        with naming_disk_errors(self._path):
            self._file = self._file or self._path.open("ab")
            self._file.write(_encoded(line))
            self._file.flush()


@contextmanager
def open_journal(out: Path, settings: str, described: str, overwrite: bool) -> Iterator[Journal]:
    """Open the journal of a folder, alone among all processes.

    With `overwrite`, results that are there are deleted, unless an interrupted run with `overwrite` made them with the
    same settings, which is resumed.

    Raises `DatasetError` if another process is writing to the folder or, without `overwrite`, if the results are of
    other weights or settings, or not of this command.
    """
    with naming_disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    with _locked(out):
        path = out / JOURNAL
        header, entries, finished = _read(path) if path.exists() else (None, {}, True)
        now = _Header(settings, described, overwrite)
        if overwrite:
            if finished or header != now:
                _delete(out, tuple(entries.values()))
                entries = {}
        elif header is None:
            _require_empty(out)
        elif entries and header.settings != settings:
            raise DatasetError(
                f"{out}: has results of other weights or settings ({header.described}; now {described}); choose "
                "another --out, or replace them all with --overwrite"
            )
        journal = Journal(path, now, entries)
        try:
            yield journal
        finally:
            journal.close()


def _read(path: Path) -> tuple[_Header | None, dict[str, Entry], bool]:
    """Return the first line, the entries, and whether the last run was finished. A line that is cut off is none."""
    *lines, _ = read_file(path).split(b"\n")
    objects = [
        JsonObject.of(parse_json(line, f"{path}: line {number}"), f"{path}: line {number}")
        for number, line in enumerate(lines, start=1)
    ]
    if not objects:
        return None, {}, False
    header = _Header(objects[0].text("settings"), objects[0].text("described"), objects[0].flag("overwrites"))
    entries = [Entry.from_json(each) for each in objects[1:] if "finished" not in each.values]
    return header, {entry.name: entry for entry in entries}, "finished" in objects[-1].values


def _delete(out: Path, entries: Sequence[Entry]) -> None:
    """Delete the results in a folder; the JSON files go first, as they stand for all of them."""
    _require_uncorrected(out, entries)
    for name in ("panoptic.json", "instances.json", JOURNAL, *(file for entry in entries for file in entry.files)):
        path = out / checked_name(name, out)
        with naming_disk_errors(path):
            path.unlink(missing_ok=True)


def _require_uncorrected(out: Path, entries: Sequence[Entry]) -> None:
    """Raise `DatasetError` if a person has worked on LabelMe files that would be deleted."""
    files = {out / "labelme" / f"{entry.name}.json": entry.labelme for entry in entries if entry.labelme}
    changed = [path for path, digest in files.items() if path.exists() and bytes_digest([read_file(path)]) != digest]
    if changed:
        found = f"{len(changed)} LabelMe file{'' if len(changed) == 1 else 's'} ({shown_ids(changed, 3)})"
        raise DatasetError(
            f"{out}: --overwrite would delete {found} that changed since this command wrote them; move the folder "
            "labelme elsewhere, or choose another --out"
        )


def _require_empty(out: Path) -> None:
    found = [name for name in _OTHERS if (out / name).exists()]
    if found:
        raise DatasetError(
            f"{out / found[0]}: exists already, and not from this command; choose another --out, or overwrite what has "
            "the same name with --overwrite"
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatasetError(f"{folder}: another process is writing results to it; choose another --out") from None
        except OSError:  # some file systems have no locks
            pass
        yield
    finally:
        os.close(descriptor)


def _encoded(line: dict[str, object]) -> bytes:
    return (json.dumps(line) + "\n").encode()
