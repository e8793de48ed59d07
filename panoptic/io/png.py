"""The container of an 8-bit RGB PNG, with or without alpha, checked completely, down to the rows as they are stored.

A PNG consists of chunks with checksums. Those named IDAT hold one zlib stream of rows, each with the number of a filter
and three or four bytes a pixel (PNG specification, third edition, W3C). Common readers convert other types of image to
RGB and return what is left of a damaged one; in an id map, both would silently give wrong ids. Alpha is left out, as by
panopticapi.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import deflate

from panoptic.io.errors import DatasetError

# A small file may claim to be an image that fills the memory.
MAX_PIXELS = 1 << 28
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_CHANNELS = {2: 3, 6: 4}  # by color type
_COLOR_TYPES = {0: "gray", 2: "RGB", 3: "palette", 4: "gray with alpha", 6: "RGB with alpha"}
_FILTERS = 5
# Adam7: (first row, first column, row step, column step) of the images that an interlaced image is split into.
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


@dataclass(frozen=True)
class PngHeader:
    """The header of a PNG: size in pixels, bits per channel, and color type."""

    height: int
    width: int
    bits: int
    color_type: int

    @property
    def holds_ids(self) -> bool:
        """Whether the pixels are three channels of 8 bits, with or without alpha."""
        return self.bits == 8 and self.color_type in _CHANNELS

    @property
    def has_alpha(self) -> bool:
        return self.color_type in (4, 6)


@dataclass(frozen=True)
class StoredRows:
    """The filtered rows of an RGB image of `height` x `width` pixels; interlaced, those of each pass in turn."""

    height: int
    width: int
    interlaced: bool
    data: bytes | bytearray


def read_png(data: bytes, where: str) -> StoredRows:
    """Extract the stored rows of an 8-bit RGB PNG, without alpha; `where` names it in errors.

    Raises `DatasetError` for another type of file or image, and for any damage.
    """
    if not data.startswith(_SIGNATURE):
        raise DatasetError(f"{where}: not a PNG file; panoptic maps are 8-bit RGB PNGs")
    chunks = list(_chunks(data, where))
    types = [chunk_type for chunk_type, _ in chunks]
    if types[0] != b"IHDR" or types.count(b"IHDR") > 1:
        raise _damaged(where, "its header is not at its beginning, or not alone")
    height, width, interlaced, channels = _read_header(chunks[0][1], where)
    pixels = [number for number, name in enumerate(types) if name == b"IDAT"]
    if not pixels or pixels[-1] - pixels[0] >= len(pixels):
        raise _damaged(where, "it has no pixels, or something between them")
    unknown = [name for name in types if name[:1].isupper() and name not in _CRITICAL]
    if unknown:
        raise _damaged(where, f"it needs a reader that knows {unknown[0]!r}")
    passes = _passes(height, width) if interlaced else ((height, width),)
    rows = _inflate(b"".join(chunks[number][1] for number in pixels), passes, channels, where)
    return StoredRows(height, width, interlaced, rows if channels == 3 else _without_alpha(rows, passes))


def claimed_header(data: bytes) -> PngHeader | None:
    """Read the header of a PNG, to check it before memory is allocated for its pixels; None if it is not a PNG."""
    if not data.startswith(_SIGNATURE) or data[12:16] != b"IHDR" or len(data) < 26:
        return None
    width, height, bits, color_type = struct.unpack_from(">IIBB", data, 16)
    return PngHeader(height, width, bits, color_type)


def is_whole(data: bytes) -> bool:
    """Tell whether all chunks that a PNG claims to have, up to the end mark, are within the file.

    OpenCV allocates what the length of a chunk says, up to 4 GB, before it looks whether the file is as long.
    """
    start, chunk_type = len(_SIGNATURE), b""
    while chunk_type != b"IEND" and start + 12 <= len(data):
        length, chunk_type = struct.unpack_from(">I4s", data, start)
        start += 12 + length
    return chunk_type == b"IEND" and start <= len(data)


def _chunks(data: bytes, where: str) -> Iterator[tuple[bytes, memoryview]]:
    """Yield type and content of every chunk up to the end mark, each with the right length and checksum."""
    view = memoryview(data)
    end = len(_SIGNATURE)
    chunk_type = b""
    while chunk_type != b"IEND":
        start = end
        length, chunk_type = struct.unpack_from(">I4s", data, start) if start + 12 <= len(data) else (0, b"")
        end = start + 12 + length
        if end > len(data):
            message = f"the PNG is cut short after {len(data)} bytes"
            raise DatasetError(f"{where}: {message}; write or fetch the file again")
        if deflate.crc32(view[start + 4 : end - 4]) != int.from_bytes(view[end - 4 : end]):
            raise _damaged(where, "wrong checksum")
        yield chunk_type, view[start + 8 : end - 4]


def _read_header(header: memoryview, where: str) -> tuple[int, int, bool, int]:
    """Return height, width, whether the image is interlaced, and the number of channels."""
    if len(header) != 13:
        raise _damaged(where, f"a header of {len(header)} bytes instead of 13")
    width, height, bits, color_type, compression, filtering, interlacing = struct.unpack(">IIBBBBB", header)
    if bits != 8 or color_type not in _CHANNELS:
        found = f"{bits}-bit {_COLOR_TYPES.get(color_type, 'of an unknown type')}"
        raise DatasetError(f"{where}: the PNG is {found}; save it as 8-bit RGB with id = R + 256 G + 65536 B")
    if not 0 < width * height <= MAX_PIXELS:
        raise DatasetError(f"{where}: the PNG claims {height} x {width} pixels; 1 to {MAX_PIXELS} are read")
    if compression or filtering or interlacing > 1:
        raise _damaged(where, f"unknown methods {compression}, {filtering}, {interlacing} in its header")
    return height, width, interlacing == 1, _CHANNELS[color_type]


def _passes(height: int, width: int) -> tuple[tuple[int, int], ...]:
    """Rows and columns of each pass of an interlaced image that is not empty."""
    sizes = ((len(range(y, height, down)), len(range(x, width, right))) for y, x, down, right in _PASSES)
    return tuple((rows, columns) for rows, columns in sizes if rows and columns)


def _inflate(stream: bytes, passes: tuple[tuple[int, int], ...], channels: int, where: str) -> bytearray:
    """Decompress the rows of all passes, and check their number, lengths and filters."""
    expected = sum(rows * (1 + channels * columns) for rows, columns in passes)
    try:
        # Limited to the expected size, so that a stream that is too long cannot fill the memory.
        data = deflate.zlib_decompress(stream, expected)
    except deflate.DeflateError:
        data = bytearray()
    if len(data) != expected:
        raise _damaged(where, f"its pixels are not {expected} sound bytes")
    start = 0
    for rows, columns in passes:
        end = start + rows * (1 + channels * columns)
        if (highest := max(data[start : end : 1 + channels * columns])) >= _FILTERS:
            raise _damaged(where, f"unknown row filter {highest}")
        start = end
    return data


def _without_alpha(data: bytearray, passes: tuple[tuple[int, int], ...]) -> bytearray:
    """Drop every fourth byte: filters work on each channel alone, so the rest are the filtered rows of an RGB image."""
    kept = bytearray()
    start = 0
    for rows, columns in passes:
        for _ in range(rows):
            end = start + 1 + 4 * columns
            row = bytearray(1 + 3 * columns)
            row[0] = data[start]
            for channel in range(1, 4):
                row[channel::3] = data[start + channel : end : 4]
            kept += row
            start = end
    return kept


def _damaged(where: str, what: str) -> DatasetError:
    return DatasetError(f"{where}: the PNG is damaged ({what}); write or fetch the file again")
