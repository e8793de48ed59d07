"""Uploads that are no photograph, or claim to be an enormous one."""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO

import numpy as np
from PIL import Image

_SIZE = 241, 251  # width and height, which occur nowhere else in the files
_TYPES = {"JPEG": ">HH", "PNG": ">II", "GIF": "<HH", "BMP": "<ii", "WebP": "<HH", "TIFF": "<I"}
_ENORMOUS = 60_000
_MOST_OF_WEBP = 16_383


def hostile_uploads() -> Iterator[tuple[str, bytes]]:
    """Yield uploads that have to be refused, with what is wrong with them."""
    yield "0 bytes", b""
    yield "a text", b"no image at all"
    yield "a web page", b"<!doctype html><script>alert(1)</script>"
    yield "SVG", b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"
    yield "PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    yield "an archive", b"PK\3\4" + bytes(100)
    yield "more than 32 MB", bytes(33_000_000)
    yield "a PNG of 10 000 x 10 000 zeros", _zeros(10_000)
    for form in _TYPES:
        sound = _encoded(form)
        yield f"a {form} cut short", sound[: len(sound) // 2]
        yield f"a {form} of random bytes", sound[:16] + np.random.default_rng(0).bytes(5_000)
        yield f"a {form} that claims to be enormous", _claiming(form, sound)


def _encoded(form: str) -> bytes:
    width, height = _SIZE
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def _claiming(form: str, sound: bytes) -> bytes:
    """Change width and height in the header of a file."""
    pack, most = _TYPES[form], _MOST_OF_WEBP if form == "WebP" else _ENORMOUS
    if form == "TIFF":  # each in an entry of its own
        for side in _SIZE:
            sound = sound.replace(struct.pack(pack, side), struct.pack(pack, most))
        return sound
    order = _SIZE[::-1] if form == "JPEG" else _SIZE
    claimed = sound.replace(struct.pack(pack, *order), struct.pack(pack, most, most), 1)
    return claimed if form != "PNG" else claimed[:29] + struct.pack(">I", zlib.crc32(claimed[12:29])) + claimed[33:]


def _zeros(side: int) -> bytes:
    buffer = BytesIO()
    Image.new("L", (side, side)).save(buffer, "PNG")
    return buffer.getvalue()
