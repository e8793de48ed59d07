"""Reading files of a zip archive at known offsets, without its directory.

Each file is preceded by a local header with its name (PKWARE's APPNOTE.TXT, 4.3.7). Sizes in it may be missing or
wrong (zip64, data descriptors), so those of the directory count. Reads use `pread`, which has no file position, so that
processes and threads can share one open file.
"""

import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import deflate

from panoptic.io.errors import DatasetError
from panoptic.io.names import decoded_names, normal_name

# An entry that is larger, or that grows by more than the ratio to more than a little, is not an image.
LARGEST_BYTES, LARGEST_RATIO, LITTLE_BYTES = 1 << 30, 200, 1 << 24
# What the standard library raises for a damaged archive, the last one for a name that is marked as UTF-8 and is not.
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError)
_LOCAL_HEADER = struct.Struct("<4s2xHH16xHH")  # signature, flags, method, lengths of name and extra field
_ENCRYPTED = 0x2041  # by a password, strongly, or with masked headers
UTF8 = 0x800  # the flag of a name in UTF-8; without it, programs write any encoding
_UNICODE_PATH = 0x7075  # the extra field in which Info-ZIP repeats a name in UTF-8 (APPNOTE.TXT, 4.6.9)


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """A file in an archive: name, offset of its local header, packed and unpacked size in bytes, CRC-32.

    `method` is 0 for stored and 8 for deflated; others are not read.
    """

    name: str
    offset: int
    packed: int
    size: int
    crc: int
    method: int

    @classmethod
    def of(cls, info: zipfile.ZipInfo, archive: Path) -> "ZipEntry":
        """The entry that the directory of `archive` describes. Raises `DatasetError` if it is encrypted."""
        require_known_packing(info, archive)
        return cls(
            info.filename, info.header_offset, info.compress_size, info.file_size, info.CRC, info.compress_type
        ).checked(archive)

    def checked(self, archive: Path) -> "ZipEntry":
        """Return the entry. Raises `DatasetError` for an unknown method, an absurd size or a negative offset."""
        _require_known_method(self.name, self.method, archive)
        likely = self.packed if self.method == zipfile.ZIP_STORED else max(LARGEST_RATIO * self.packed, LITTLE_BYTES)
        if not 0 <= self.size <= min(likely, LARGEST_BYTES) or not 0 <= self.packed <= LARGEST_BYTES:
            claim = f"claims to hold {self.size} bytes in {self.packed}"
            raise DatasetError(f"{archive}: '{self.name}' {claim}; this is no image, replace the file")
        if self.offset < 0:
            raise DatasetError(f"{archive}: '{self.name}' is said to begin before the archive; fetch it again")
        return self


def require_known_packing(info: zipfile.ZipInfo, archive: Path) -> None:
    """Check how an entry of `archive` is packed, of whatever size. Raises `DatasetError` if it cannot be read."""
    if info.flag_bits & _ENCRYPTED:
        raise DatasetError(f"{archive}: '{info.filename}' is encrypted; pack it again without a password")
    _require_known_method(info.filename, info.compress_type, archive)


def _require_known_method(name: str, method: int, archive: Path) -> None:
    if method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        known = "pack it again, stored or deflated"
        raise DatasetError(f"{archive}: '{name}' is packed by method {method}; {known}")


def read_entry(file: int, entry: ZipEntry, archive: Path) -> bytes:
    """Read the content of an entry; `file` is the descriptor of the open `archive`.

    Raises `DatasetError` that names the entry if it is missing or damaged, or if `ZipEntry` refuses it.
    """
    entry.checked(archive)
    length = os.fstat(file).st_size
    if not 0 <= entry.offset <= length - _LOCAL_HEADER.size:
        raise _wrong(entry, archive, "the archive ends before it")
    expected = entry.name.encode()
    head = os.pread(file, _LOCAL_HEADER.size + len(expected), entry.offset)
    signature, flags, method, name, extra = _LOCAL_HEADER.unpack_from(head)
    is_named = name == len(expected) and head.endswith(expected)
    if signature != b"PK\x03\x04" or not (is_named or _is_named_otherwise(file, entry)):
        raise _wrong(entry, archive, "there is something else at its offset")
    if method != entry.method or flags & _ENCRYPTED:
        raise _wrong(entry, archive, "it is packed in another way")
    start = entry.offset + _LOCAL_HEADER.size + name + extra
    if start + entry.packed > length:
        raise _wrong(entry, archive, "the archive ends within it")
    content = os.pread(file, entry.packed, start)
    if entry.method == zipfile.ZIP_DEFLATED:
        try:
            # Limited to the expected size, so that an entry that unpacks to more cannot fill the memory.
            content = bytes(deflate.deflate_decompress(content, entry.size))
        except deflate.DeflateError as error:
            raise _wrong(entry, archive, str(error)) from None
    if len(content) != entry.size or deflate.crc32(content) != entry.crc:
        raise _wrong(entry, archive, "wrong length or checksum")
    return content


def entry_names(raw: bytes, extra: bytes, is_utf8: bool) -> tuple[str, ...]:
    """Decode the name of a header, given its `extra` fields; several names if its encoding is unknown."""
    if is_utf8 or raw.isascii():
        return (raw.decode(errors="replace"),)
    while len(extra) >= 4:
        number, size = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        # Valid for the name that it was written for: programs that rename an entry may not know the field.
        if number == _UNICODE_PATH and field[:5] == struct.pack("<BI", 1, deflate.crc32(raw)):
            return (field[5:].decode(errors="replace"),)
    return decoded_names(raw)


def _is_named_otherwise(file: int, entry: ZipEntry) -> bool:
    """Tell whether the local header has the name of an entry in another form or encoding."""
    head = os.pread(file, _LOCAL_HEADER.size, entry.offset)
    _, flags, _, name, extra = _LOCAL_HEADER.unpack_from(head)
    names = os.pread(file, name + extra, entry.offset + _LOCAL_HEADER.size)
    return entry.name in map(normal_name, entry_names(names[:name], names[name:], bool(flags & UTF8)))


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
