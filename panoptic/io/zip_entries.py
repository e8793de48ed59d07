"""Reading files out of a zip archive at places that are known, without its directory.

PKWARE's APPNOTE.TXT, 4.3.7: before each file stands a local header with its name; sizes there may be missing or wrong
(zip64, data descriptors), so that those of the directory count. Reading names its position in the file each time:
processes and threads may share one open file.
"""

import os
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path

import deflate

from panoptic.io.errors import DatasetError

# Of an entry: what is larger, or grows more than so many times to more than a little, is not an image.
LARGEST_BYTES, LARGEST_RATIO, LITTLE_BYTES = 1 << 30, 200, 1 << 24
_LOCAL_HEADER = struct.Struct("<4s2xHH16xHH")  # signature, flags, method, lengths of name and extra field
_ENCRYPTED = 0x2041  # by a password, strongly, or with masked headers


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """A file in an archive: its name there, the offset of its local header, its bytes packed and unpacked, its CRC-32.

    `method`: 0 stored, 8 deflated; others are not read.
    """

    name: str
    offset: int
    packed: int
    size: int
    crc: int
    method: int

    @classmethod
    def of(cls, info: zipfile.ZipInfo, archive: Path) -> "ZipEntry":
        """As the directory of `archive` has it. Raises `DatasetError` for one that is encrypted."""
        if info.flag_bits & _ENCRYPTED:
            raise DatasetError(f"{archive}: '{info.filename}' is encrypted; pack it again without a password")
        return cls(
            info.filename, info.header_offset, info.compress_size, info.file_size, info.CRC, info.compress_type
        ).checked(archive)

    def checked(self, archive: Path) -> "ZipEntry":
        """The same. Raises `DatasetError` for a method that is not read, and for an absurd size."""
        if self.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            known = "pack it again, stored or deflated"
            raise DatasetError(f"{archive}: '{self.name}' is packed by method {self.method}; {known}")
        likely = self.packed if self.method == zipfile.ZIP_STORED else max(LARGEST_RATIO * self.packed, LITTLE_BYTES)
        if not 0 <= self.size <= min(likely, LARGEST_BYTES) or not 0 <= self.packed <= LARGEST_BYTES:
            claim = f"claims to hold {self.size} bytes in {self.packed}"
            raise DatasetError(f"{archive}: '{self.name}' {claim}; this is no image, replace the file")
        return self


def read_entry(file: int, entry: ZipEntry, archive: Path) -> bytes:
    """The content of an entry; `file` is the descriptor of the open `archive`.

    Raises `DatasetError` that names the entry for one that is not there, is damaged, or that `ZipEntry` refuses.
    """
    entry.checked(archive)
    length = os.fstat(file).st_size
    # Names are in UTF-8 where a flag says so, otherwise in the character set of the first IBM PC, which takes less.
    names = entry.name.encode(), entry.name.encode("cp437", "replace")
    if not 0 <= entry.offset <= length - _LOCAL_HEADER.size:
        raise _wrong(entry, archive, "the archive ends before it")
    head = os.pread(file, _LOCAL_HEADER.size + len(names[0]), entry.offset)
    signature, flags, method, name, extra = _LOCAL_HEADER.unpack_from(head)
    found = head[_LOCAL_HEADER.size :][:name]
    if signature != b"PK\x03\x04" or len(found) != name or found not in names:
        raise _wrong(entry, archive, "something else is in its place")
    if method != entry.method or flags & _ENCRYPTED:
        raise _wrong(entry, archive, "it is packed in another way")
    start = entry.offset + _LOCAL_HEADER.size + name + extra
    if start + entry.packed > length:
        raise _wrong(entry, archive, "the archive ends within it")
    content = os.pread(file, entry.packed, start)
    if entry.method == zipfile.ZIP_DEFLATED:
        try:
            # So many bytes and no more: what unpacks to more does not fill the memory.
            content = bytes(deflate.deflate_decompress(content, entry.size))
        except deflate.DeflateError as error:
            raise _wrong(entry, archive, str(error)) from None
    if len(content) != entry.size or deflate.crc32(content) != entry.crc:
        raise _wrong(entry, archive, "wrong length or checksum")
    return content


def _wrong(entry: ZipEntry, archive: Path, found: str) -> DatasetError:
    return DatasetError(
        f"{archive}: '{entry.name}' is damaged, or the archive was replaced ({found});"
        " fetch it again, or run `dvc repro annotate`"
    )


def add_file(archive: zipfile.ZipFile, name: str, data: bytes, method: int = zipfile.ZIP_STORED) -> None:
    """Add a file to an archive; equal data give equal bytes."""
    entry = zipfile.ZipInfo(name)  # dated 1980
    entry.create_system, entry.external_attr = 3, 0o644 << 16  # as on Unix, wherever it is written
    archive.writestr(entry, data, method)
