"""A partially downloaded file: the bytes that have arrived, their origin, and their checksum.

Bytes are only appended, so that a kill always leaves the beginning of the file, which the next run continues. The
checksum is updated as bytes arrive; only bytes of an earlier run are read again.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from panoptic.io.errors import DatasetError
from panoptic.io.files import naming_disk_errors
from panoptic.io.json_fields import read_json
from panoptic.io.reading import open_file

# The number of bytes at the beginning of a file that show its type. An empty zip file begins with its end record.
HEAD = 512
_MAGIC = {
    ".zip": (0, (b"PK\x03\x04", b"PK\x05\x06"), "archive"),
    ".tar": (257, (b"ustar",), "archive"),
    ".pth": (0, (b"PK\x03\x04", b"\x80"), "checkpoint"),
}


@dataclass(frozen=True)
class Origin:
    """The source of a partial file: address, full length, and the validator of its version ('' if there is none)."""

    address: str
    bytes: int
    validator: str


class PartialFile:
    """The bytes of `target` that have arrived, in `<target>.part`; their origin is in `<target>.part.json`.

    `advance` is called with the number of bytes added, which is negative if they are discarded.
    """

    def __init__(self, target: Path, advance: Callable[[int], None]) -> None:
        self.target = target
        self.path, self._note = partial_paths(target)
        self._advance = advance
        self._digest = hashlib.sha256()
        self.size = 0
        self.origin = self._noted_origin()
        if self.origin and self.path.is_file() and self.path.stat().st_size <= self.origin.bytes:
            for piece in read_pieces(self.path):
                self._count(piece)
        else:
            self.discard()
        self.in_one_go = self.size == 0  # whether all bytes are from one answer of the server

    @property
    def is_complete(self) -> bool:
        return self.origin is not None and self.size == self.origin.bytes

    @property
    def sha256(self) -> str:
        """The SHA-256 of the bytes that have arrived."""
        return self._digest.hexdigest()

    def begin(self, origin: Origin) -> None:
        """Start from nothing. The origin is written first: a partial file is of no use without it."""
        self.discard()
        with naming_disk_errors(self._note):
            self._note.write_text(json.dumps(asdict(origin)), encoding="utf-8")
        self.origin = origin

    def append(self, pieces: Iterable[bytes]) -> None:
        """Append pieces as they arrive; those before an error are kept."""
        self.in_one_go = self.size == 0
        with self.path.open("ab") as file:
            for piece in pieces:
                with naming_disk_errors(self.path):
                    file.write(piece)
                self._count(piece)

    def discard(self) -> None:
        """Delete the bytes that have arrived."""
        for path in (self.path, self._note):
            path.unlink(missing_ok=True)
        self._advance(-self.size)
        self._digest = hashlib.sha256()
        self.size, self.origin = 0, None

    def finish(self) -> None:
        """Move the complete file to `target`."""
        assert self.is_complete
        with naming_disk_errors(self.target):
            with self.path.open("rb") as file:
                os.fsync(file.fileno())  # or a power cut could leave a file with its name but without its bytes
            self.path.replace(self.target)
            self._note.unlink()

    def _count(self, piece: bytes) -> None:
        self._digest.update(piece)
        self.size += len(piece)
        self._advance(len(piece))

    def _noted_origin(self) -> Origin | None:
        try:
            note = read_json(self._note)
            return Origin(note.text("address"), note.integer("bytes"), note.text("validator"))
        except DatasetError:  # missing or cut short: then nothing has arrived either
            return None


def partial_paths(target: Path) -> tuple[Path, Path]:
    """The paths of the partial file of `target`, and of its origin."""
    return target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.part.json")


def read_pieces(path: Path) -> Iterator[bytes]:
    """Yield the content of a file in pieces of a megabyte."""
    with open_file(path) as file:
        while piece := file.read(1 << 20):
            yield piece


def other_content(head: bytes, name: str) -> str:
    """Describe what a file is instead of the archive or checkpoint that its `name` promises; empty if it is that.

    `head` are its first `HEAD` bytes. Servers often send a login or error page in place of a file.
    """
    offset, beginnings, promised = _MAGIC[PurePosixPath(name).suffix]
    if head[offset:].startswith(beginnings):
        return ""
    text = head.decode("latin-1")
    content = "a web page" if re.search(r"<(!doctype )?html", text, re.IGNORECASE) else "something else"
    words = " ".join(re.sub(r"<[^>]*>|[^ -~]+", " ", text).split())
    return f"{content} instead of the {promised}: '{words[:80]}'"
