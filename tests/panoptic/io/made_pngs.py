"""PNG files built byte by byte from the specification, valid and invalid ones."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    """Build a chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(height: int, width: int, bits: int = 8, color: int = 2, methods: tuple[int, int, int] = (0, 0, 0)) -> bytes:
    """Build the header chunk; `methods` are those of compression, filtering and interlacing."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, *methods))


def png(head: bytes, stream: bytes) -> bytes:
    """Build a file of a header chunk and a zlib stream."""
    return SIGNATURE + head + chunk(b"IDAT", stream) + chunk(b"IEND")


def stored_rows(rgb: NDArray[np.uint8], filters: tuple[int, ...]) -> bytes:
    """Filter the rows of an (H,W,3 or 4) image by `filters` in turn, as defined in section 9 of the specification."""
    stored = bytearray()
    height, width, channels = rgb.shape
    above = np.zeros(width * channels, np.uint8)
    for number, row in enumerate(rgb.reshape(height, -1)):
        kind = filters[number % len(filters)]
        stored.append(kind)
        for place, value in enumerate(row.tolist()):
            left, corner = (int(line[place - channels]) if place >= channels else 0 for line in (row, above))
            stored.append((value - predicted(kind, left, int(above[place]), corner)) % 256)
        above = row
    return bytes(stored)


def interlaced_png(rgb: NDArray[np.uint8]) -> bytes:
    """Encode an (H,W,3 or 4) image interlaced, with its rows filtered by all filters in turn."""
    passes = (rgb[y::down, x::right] for y, x, down, right in ADAM7)
    rows = b"".join(stored_rows(part, (0, 1, 2, 3, 4)) for part in passes if part.size)
    height, width, channels = rgb.shape
    return png(header(height, width, color=2 if channels == 3 else 6, methods=(0, 0, 1)), zlib.compress(rows))


def predicted(kind: int, left: int, above: int, corner: int) -> int:
    if kind == 4:
        estimate = left + above - corner
        return min((left, above, corner), key=lambda value: abs(estimate - value))  # the first of those equally near
    return (0, left, above, (left + above) // 2)[kind]
