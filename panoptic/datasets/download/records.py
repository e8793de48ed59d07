"""What was verified before: the checksums of archives and of what came out of them, and how to tell that both stay.

A file counts as the one that was verified while its size, time of last change and inode are those that were recorded;
reading 20 GB again to be sure would take minutes each time.
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock

from panoptic.datasets.description import ARCHIVES_FOLDER
from panoptic.io.errors import DatasetError
from panoptic.io.files import write_atomically
from panoptic.io.json_fields import read_json


@dataclass(frozen=True)
class Record:
    """A file as it was when it was verified. `sha256` is that of the archive that it is, or that it came out of."""

    sha256: str
    bytes: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path, sha256: str) -> "Record":
        found = path.stat()
        return cls(sha256, found.st_size, found.st_mtime_ns, found.st_ino)


class ArchiveRecords:
    """The records of a dataset, in `<root>/archives/archives.json`, by path below the root. Threads may share it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / ARCHIVES_FOLDER / "archives.json"
        self._lock = Lock()
        self._records: dict[str, Record] = {}
        if self.path.exists():
            document = read_json(self.path)
            for place in document.values:
                record = document.child(place)
                stamp = (record.integer(key) for key in ("bytes", "mtime_ns", "inode"))
                self._records[place] = Record(record.text("sha256"), *stamp)

    def last(self, place: str) -> str | None:
        """The checksum that was recorded for `place`, whatever lies there now."""
        record = self._records.get(place)
        return record.sha256 if record else None

    def current(self, place: str) -> str | None:
        """The same, but None unless the file there is still the one that was verified."""
        record, path = self._records.get(place), self.root / place
        unchanged = record and path.is_file() and Record.of(path, record.sha256) == record
        return record.sha256 if record and unchanged else None

    def add(self, place: str, sha256: str) -> None:
        """Record that the file at `place` was verified."""
        with self._lock:
            self._records[place] = Record.of(self.root / place, sha256)
            document = {key: asdict(record) for key, record in sorted(self._records.items())}
            write_atomically(self.path, (json.dumps(document, indent=1) + "\n").encode())


@contextmanager
def working_alone(root: Path) -> Iterator[ArchiveRecords]:
    """Keep other programs from working on the archives below `root`; gives the records.

    Raises `DatasetError` if one already does. The lock ends with the program that holds it, however it ends.
    """
    folder = root / ARCHIVES_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatasetError(f"{root}: another download is at work here; wait for it, or end it") from None
        except OSError as error:  # some file systems of clusters have no locks
            print(f"{folder}: cannot be locked ({error}); do not start a second download here")
        for left_over in folder.glob(".*.partial"):  # by a program that was killed while it wrote the records
            left_over.unlink()
        yield ArchiveRecords(root)
