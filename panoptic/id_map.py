"""Id maps and their PNG form, as COCO defines it: a segment's id is R + 256 G + 65536 B; id 0 is void."""

import struct
import zlib

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from panoptic.errors import DatasetError

VOID = 0
MAX_ID = (1 << 24) - 1
# A small file may claim a picture that fills the memory.
MAX_PIXELS = 1 << 28
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}


def rgb_to_ids(rgb: NDArray[np.uint8]) -> NDArray[np.int32]:
    """(H,W,3) colours to (H,W) ids."""
    return _to_ids(rgb, cv2.COLOR_RGB2RGBA)


def ids_to_rgb(ids: NDArray[np.int32]) -> NDArray[np.uint8]:
    """(H,W) ids to (H,W,3) colours. Raises `ValueError` for an id outside 0..16777215."""
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) <= MAX_ID:
        raise ValueError(f"ids must lie in 0..{MAX_ID} to fit a colour, found {ids.min()}..{ids.max()}")
    rgba = np.ascontiguousarray(ids, dtype="<i4").view(np.uint8).reshape(*ids.shape, 4)
    return np.ascontiguousarray(rgba[..., :3])


def encode_id_map(ids: NDArray[np.int32], compact: bool = False) -> bytes:
    """(H,W) ids to the bytes of an 8-bit RGB PNG; `compact` halves its size and takes ten times as long."""
    smallest = (cv2.IMWRITE_PNG_COMPRESSION, 9, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT)
    done, data = cv2.imencode(".png", cv2.cvtColor(ids_to_rgb(ids), cv2.COLOR_RGB2BGR), smallest if compact else ())
    assert done
    return data.tobytes()


def decode_id_map(data: bytes, where: str) -> NDArray[np.int32]:
    """The bytes of a PNG to (H,W) ids.

    `where` names the file in errors. Raises `DatasetError` for anything but an undamaged 8-bit RGB PNG:
    OpenCV reads other kinds too, and what is left of a damaged file, and gives wrong ids without a word.
    """
    _check_png(data, where)
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if bgr is None:
        raise DatasetError(f"{where}: the PNG cannot be decoded; write the file again")
    return _to_ids(bgr, cv2.COLOR_BGR2RGBA)


def _to_ids(picture: MatLike, to_rgba: int) -> NDArray[np.int32]:
    """Four bytes a pixel are one little-endian number; its highest byte, the opaque alpha, is masked out."""
    rgba = np.asarray(cv2.cvtColor(picture, to_rgba), dtype=np.uint8)
    ids: NDArray[np.int32] = rgba.view("<i4").reshape(rgba.shape[:2])
    return np.bitwise_and(ids, MAX_ID, out=ids)


def _check_png(data: bytes, where: str) -> None:
    """Walk the chunks up to the end mark, checking the length and checksum of each."""
    if not data.startswith(_SIGNATURE):
        raise DatasetError(f"{where}: not a PNG file; panoptic maps are 8-bit RGB PNGs")
    end = len(_SIGNATURE)
    kind = b""
    while kind != b"IEND":
        start = end
        length, kind = struct.unpack_from(">I4s", data, start) if start + 12 <= len(data) else (0, b"")
        end = start + 12 + length
        if end > len(data):
            message = f"the PNG is cut short after {len(data)} bytes"
            raise DatasetError(f"{where}: {message}; write or fetch the file again")
        if zlib.crc32(data[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            raise DatasetError(f"{where}: the PNG is damaged (wrong checksum); write or fetch the file again")
        if kind == b"IHDR":
            width, height, bits, colour_type = struct.unpack_from(">IIBB", data, start + 8)
            _check_header(width, height, bits, colour_type, where)


def _check_header(width: int, height: int, bits: int, colour_type: int, where: str) -> None:
    if (bits, colour_type) != (8, 2):
        found = f"{bits}-bit {_COLOUR_TYPES.get(colour_type, 'of an unknown kind')}"
        raise DatasetError(f"{where}: the PNG is {found}; save it as 8-bit RGB with id = R + 256 G + 65536 B")
    if width * height > MAX_PIXELS:
        raise DatasetError(f"{where}: the PNG claims {height} x {width} pixels; no more than {MAX_PIXELS} are read")
