"""Receiving images, which anybody may send: bounded in bytes, time and pixels before anything is decoded."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from email.parser import BytesHeaderParser
from io import BytesIO
from typing import NamedTuple

from starlette.requests import Request

from panoptic.data.image_header import EnormousImageError, UnsupportedImageError, read_header
from panoptic.io.errors import DatasetError
from panoptic_segformer.serve.limits import MEGA, Limits, RefusalError

# By their first bytes: what browsers and cameras send. The decoders know many more, which nobody needs to try here.
_TYPES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"RIFF": "WebP",
    b"BM": "BMP",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
_MAX_NAME = 100
_MAX_PARTS = 100  # of a form
_MAX_HEAD = 8_192  # bytes before the content of a part


class Upload(NamedTuple):
    """The bytes of an image file, and its name without folders."""

    name: str
    data: bytes


class Receiving:
    """The bytes of all uploads that are being received: in all no more than the queue may hold."""

    def __init__(self, limits: Limits) -> None:
        self._most = limits.queue * limits.megabytes * MEGA
        self.nbytes = 0

    def add(self, count: int) -> None:
        """Count further bytes. Raises `RefusalError` if they are too many."""
        self.nbytes += count
        if self.nbytes > self._most:
            raise RefusalError(503, "too many uploads arrive at the same time; come again", {"Retry-After": "5"})


async def read_upload(request: Request, limits: Limits, receiving: Receiving) -> Upload:
    """Read an image from a request: the first file of a form, or else the whole body.

    Raises:
        RefusalError: it is too large or too slow, or a form without a file, or too much is received already.
    """
    most = limits.megabytes * MEGA
    too_large = RefusalError(413, f"the upload has more than {limits.megabytes} MB; send a smaller image")
    length = request.headers.get("content-length", "0")
    if len(length) > 15 or int(length) > most:  # the protocol has checked that these are digits
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(limits.upload_seconds):
            async for chunk in request.stream():
                body += chunk
                receiving.add(len(chunk))
                if len(body) > most:
                    raise too_large
    except TimeoutError:
        raise RefusalError(408, f"the upload took more than {limits.upload_seconds:g} s; send it again") from None
    finally:
        receiving.add(-len(body))
    boundary = form_boundary(request.headers.get("content-type", ""))
    return Upload("image", bytes(body)) if boundary is None else await asyncio.to_thread(first_file, body, boundary)


def form_boundary(content_type: str) -> str | None:
    """Return the boundary of a multipart form; None for another type. Raises `RefusalError` for a malformed header."""
    header = Message()
    header["Content-Type"] = content_type[:_MAX_HEAD]
    with _parsing():
        return header.get_boundary() if header.get_content_type() == "multipart/form-data" else None


def first_file(body: bytes | bytearray, boundary: str) -> Upload:
    """Find the first file among the parts of a multipart form (RFC 7578). Raises `RefusalError` if there is none."""
    delimiter = b"\r\n--" + boundary.encode(errors="replace")
    begin = len(delimiter) - 2 if body.startswith(delimiter[2:]) else body.find(delimiter) + len(delimiter)
    for _ in range(_MAX_PARTS):
        end = body.find(delimiter, begin)
        blank = body.find(b"\r\n\r\n", begin, min(end, begin + _MAX_HEAD))
        head = body[begin:blank].lstrip(b" \t").removeprefix(b"\r\n") if 0 <= blank < end else b""
        with _parsing():
            name = BytesHeaderParser().parsebytes(bytes(head)).get_filename()
        if name is not None:
            return Upload(plain_name(name), bytes(memoryview(body)[blank + 4 : end]))
        if end < 0:
            break
        begin = end + len(delimiter)
    raise RefusalError(400, "the form has no file; send one with a name, as in: curl -F file=@photo.jpg")


@contextmanager
def _parsing() -> Iterator[None]:
    """Refuse headers whose parameters the standard library cannot sort or decode."""
    try:
        yield
    except (TypeError, ValueError, LookupError) as error:
        raise RefusalError(400, f"the type of the upload or the name of its file is malformed ({error})") from None


def plain_name(name: str) -> str:
    """Return the last part of a file name, printable and not too long."""
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(letter for letter in last if letter.isprintable() and letter not in '"<>:|?*')
    return kept.lstrip(".")[-_MAX_NAME:] or "image"


def check_image(data: bytes, limits: Limits) -> None:
    """Check type and size before any pixel is decoded; of an animation, even this may take long.

    Raises:
        RefusalError: the image is of another type, damaged or too large.
    """
    if not data:
        raise RefusalError(400, "the upload is empty; send an image")
    types = ", ".join(dict.fromkeys(_TYPES.values()))
    if not any(data.startswith(first) for first in _TYPES):
        raise RefusalError(415, f"the upload is none of {types}; convert it")
    try:
        header = read_header(BytesIO(data), "the upload")
    except UnsupportedImageError as error:
        raise RefusalError(415, str(error)) from None
    except DatasetError as error:
        status = 413 if isinstance(error, EnormousImageError) else 422
        raise RefusalError(status, str(error)) from None
    if header.height * header.width > limits.megapixels * MEGA:
        found = f"the image has {header.width} x {header.height} pixels"
        raise RefusalError(413, f"{found}, more than {limits.megapixels} million; send a smaller one")
