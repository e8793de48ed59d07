"""Zip and tar archives, JPEGs and PNGs as bytes that depend on their content alone."""

import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_DATE = (2018, 6, 1, 0, 0, 0)


def write_zip(target: Path | io.BytesIO, entries: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> None:
    """Write a zip file; names that end with a slash are folders."""
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name, _DATE)
            info.external_attr = (0o40755 << 16 | 0x10) if name.endswith("/") else 0o100644 << 16
            info.compress_type = zipfile.ZIP_STORED if name.endswith("/") else compression
            archive.writestr(info, content)


def overflowing_zip(entries: Mapping[str, bytes]) -> bytes:
    """Write a zip file with sizes after the contents, and an entry count that is too small by three."""
    stream = _OneWay()
    write_zip(stream, entries)
    content = bytearray(stream.getvalue())
    struct.pack_into("<2H", content, content.rfind(b"PK\x05\x06") + 8, len(entries) - 3, len(entries) - 3)
    return bytes(content)


class _OneWay(io.BytesIO):
    """A stream like a pipe, so that `zipfile` cannot seek back to write sizes before contents."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise OSError("a pipe cannot go back")


def write_tar(target: Path, entries: Mapping[str, bytes]) -> None:
    """Folders and files as `tar` writes them."""
    folders = sorted({f"{folder}" for name in entries for folder in Path(name).parents[:-1]})
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as archive:
        for name in [*folders, *entries]:
            info = tarfile.TarInfo(name)
            info.type = tarfile.REGTYPE if name in entries else tarfile.DIRTYPE
            info.mode, info.uid, info.uname, info.mtime = 0o755, 1000, "someone", 1_500_000_000
            info.size = len(entries.get(name, b""))
            archive.addfile(info, io.BytesIO(entries.get(name, b"")))


def jpeg(image: NDArray[np.uint8]) -> bytes:
    """A JPEG, of one channel where the image is gray."""
    is_gray = bool((image == image[..., :1]).all())
    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if is_gray else image).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def png(image: NDArray[np.uint8 | np.uint16]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def json_bytes(document: Mapping[str, object]) -> bytes:
    return json.dumps(document).encode()
