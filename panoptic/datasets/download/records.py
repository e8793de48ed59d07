"""Records of verified files: checksums of archives and of what was unpacked from them, and whether both are unchanged.

A file counts as verified as long as its size, modification time and inode are those that were recorded; reading 20 GB
again to be sure would take minutes every time.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock

from panoptic.datasets.description import ARCHIVES_FOLDER
from panoptic.io.errors import DatasetError
from panoptic.io.json_fields import read_json, write_json


@dataclass(frozen=True)
class Record:
    """A file at the time of its verification. `sha256` is that of the archive that it is, or was unpacked from."""

    sha256: str
    bytes: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path, sha256: str) -> "Record":
        found = path.stat()
        return cls(sha256, found.st_size, found.st_mtime_ns, found.st_ino)


class ArchiveRecords:
    """The records of a dataset by path below its root, stored in `<root>/archives/archives.json`. Thread-safe."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / ARCHIVES_FOLDER / "archives.json"
        self._lock = Lock()
        self._records: dict[str, Record] = {}
        if self.path.exists():
            document = read_json(self.path)
            for name in document.values:
                record = document.child(name)
                stamp = (record.integer(key) for key in ("bytes", "mtime_ns", "inode"))
                self._records[name] = Record(record.text("sha256"), *stamp)

    def last(self, name: str) -> str | None:
        """The checksum that was recorded for the path `name`, whatever is there now."""
        record = self._records.get(name)
        return record.sha256 if record else None

    def current(self, name: str) -> str | None:
        """The recorded checksum, or None unless the file there is still the one that was verified."""
        record, path = self._records.get(name), self.root / name
        unchanged = record and path.is_file() and Record.of(path, record.sha256) == record
        return record.sha256 if record and unchanged else None

    def add(self, name: str, sha256: str) -> None:
        """Record that the file at the path `name` was verified."""
        with self._lock:
            self._records[name] = Record.of(self.root / name, sha256)
            document = {key: asdict(record) for key, record in sorted(self._records.items())}
            write_json(self.path, document)


@contextmanager
def working_alone(root: Path) -> Iterator[ArchiveRecords]:
    """Keep other programs from working on the archives below `root`; yields the records.

    Raises `DatasetError` if another program already does. The lock ends with the program that holds it, even by a kill.
    """
    folder = root / ARCHIVES_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatasetError(f"{root}: another download is running here; wait for it, or stop it") from None
        except OSError as error:  # some cluster file systems have no locks
            print(f"{folder}: cannot be locked ({error}); do not start a second download here")
        yield ArchiveRecords(root)
