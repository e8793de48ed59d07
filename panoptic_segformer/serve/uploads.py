"""Receiving images, which anybody may send: bounded in bytes, time and pixels before anything is decoded."""

import asyncio
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


class Upload(NamedTuple):
    """The bytes of an image file, and its name without folders."""

    name: str
    data: bytes


async def read_upload(request: Request, limits: Limits) -> Upload:
    """Read an image from a request: the first file of a form, or else the whole body.

    Raises:
        RefusalError: it is too large or too slow, or a form without a file.
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
                if len(body) > most:
                    raise too_large
    except TimeoutError:
        raise RefusalError(408, f"the upload took more than {limits.upload_seconds:g} s; send it again") from None
    header = Message()
    header["Content-Type"] = request.headers.get("content-type", "")
    boundary = header.get_boundary() if header.get_content_type() == "multipart/form-data" else None
    return Upload("image", bytes(body)) if boundary is None else first_file(body, boundary)


def first_file(body: bytes | bytearray, boundary: str) -> Upload:
    """Find the first file of a multipart form (RFC 7578). Raises `RefusalError` if there is none."""
    delimiter = b"\r\n--" + boundary.encode(errors="replace")
    start = 0 if body.startswith(delimiter[2:]) else body.find(delimiter) + 2
    begin = start + len(delimiter) - 2
    while start >= 0 and (end := body.find(delimiter, begin)) >= 0:
        head, blank, content = bytes(body[begin:end]).lstrip(b" \t").removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = BytesHeaderParser().parsebytes(head[:65_536]).get_filename() if blank else None
        if name is not None:
            return Upload(plain_name(name), content)
        begin = end + len(delimiter)
    raise RefusalError(400, "the form has no file; send one with a name, as in: curl -F file=@photo.jpg")


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
