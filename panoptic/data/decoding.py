"""Decoding image files to 8-bit RGB: one rule for every command.

The stored pixels of the first image in a file are read, by OpenCV or, where it cannot, by Pillow. Gray values and
palettes become RGB, and an alpha channel is dropped. Samples of more than 8 bits are divided by a power of two:
cameras and scanners put 10, 12 or 14 bits into 16, and a file does not say so, hence the smallest of `DEPTHS` that
holds the largest value of the image counts.
"""

from collections.abc import Iterable
from contextlib import suppress
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from panoptic.data.image_header import (
    WRONG_FILE,
    ImageHeader,
    UnsupportedImageError,
    open_image,
    orientation_of,
    read_header,
    turned_upright,
    white_is_zero,
)
from panoptic.data.jpeg import BEGIN, END, lacks_pixels, whole_jpeg
from panoptic.io.errors import DatasetError, naming_memory, shown_ids
from panoptic.io.files import FileSource
from panoptic.io.png import is_whole

DEPTHS = (8, 10, 12, 14, 16)
_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
# In bytes. The end mark of a JPEG is mostly this near; that of an embedded thumbnail is farther away.
_END_WINDOW = 1024
# GIF and TIFF, whose colors OpenCV mixes with black or white where they are transparent.
_BLENDED = (b"GIF8", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG = b"\x89PNG\r\n\x1a\n"

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # what is wrong with a file is said by our errors


def decode_image(data: bytes, where: str) -> NDArray[np.uint8]:
    """Decode the bytes of an image file to the stored pixels, (H,W,3) uint8 RGB; `where` names it in errors.

    Raises `DatasetError` if the image cannot be decoded.
    """
    with naming_memory(where):
        return _decode(data, where)[0]


def decode_upright(data: bytes, where: str) -> NDArray[np.uint8]:
    """Decode like `decode_image`, and turn the image as its EXIF orientation says."""
    header = read_header(BytesIO(data), where)
    return turned_upright(decode_image(data, where), header.orientation)


def convert_upright(image: Image.Image, where: str) -> NDArray[np.uint8]:
    """Convert an open image like `decode_upright`, whatever its mode, to upright pixels (H,W,3) uint8 RGB.

    Raises `DatasetError` if it is empty or damaged, or its mode has no such pixels.
    """
    try:
        if 0 in image.size:
            raise ValueError("it has no pixels")
        if image.mode == "LAB":  # of which decoders make different colors
            raise ValueError("its white point is not known")
        if image.mode[0] in "IF":
            pixels, _ = _to_8_bits(_repeated(image), where)
        else:
            plain = image.convert("LA") if image.mode == "La" else image
            pixels = np.array(plain if plain.mode == "RGB" else plain.convert("RGB"))
        return turned_upright(pixels, orientation_of(image))
    except UnsupportedImageError:
        raise
    except WRONG_FILE as error:
        found = f"the PIL image of mode {image.mode} cannot be converted ({error})"
        raise DatasetError(f"{where}: {found}; give a whole image, or convert it to RGB first") from None


def verify_image(data: bytes, where: str) -> int:
    """Raise `DatasetError` unless all pixels of an image can be decoded; return the bits that its samples have.

    In addition to `decode_image`, it finds JPEGs with an end mark that are cut short nevertheless. What a command takes
    in is verified once, so that reading it need not be.
    """
    with naming_memory(where):
        image, bits = _decode(data, where)
        if data.startswith(BEGIN) and lacks_pixels(data, image):
            raise _undecodable(where)
    return bits


def reading_notes(files: FileSource, names: Iterable[str], upright: bool = False) -> list[str]:
    """Count and name images that are not read as a viewer shows them, in one line for each reason.

    `upright` says that the EXIF orientation is applied. Files that cannot be read are left to whatever reads them.
    """
    headers: dict[str, ImageHeader] = {}
    for name in names:
        with suppress(DatasetError), files.open(name) as file:
            headers[name] = read_header(file, name)
    depths = ", ".join(map(str, DEPTHS))
    reasons = {
        f"more than 8 bits a sample; each is read with the fewest of {depths} bits that hold its values": [
            name for name, header in headers.items() if header.bits > DEPTHS[0]
        ],
        "several frames or pages; the first is read": [name for name, header in headers.items() if header.frames > 1],
        "an EXIF orientation, which is ignored: annotations belong to the stored pixels": [
            name for name, header in headers.items() if header.orientation != 1 and not upright
        ],
    }
    return [
        f"note: {len(found)} image{'s have' if len(found) > 1 else ' has'} {reason} ({shown_ids(found, 3)})"
        for reason, found in reasons.items()
        if found
    ]


def _whole_file(data: bytes, where: str) -> bytes:
    """Return a file that any decoder takes: the end mark of a JPEG is added if it is all that is missing.

    Raises `DatasetError` for a PNG or JPEG that is cut short.
    """
    whole: bytes | None = data
    if data.startswith(_PNG) and not is_whole(data):
        whole = None
    elif data.startswith(BEGIN) and END not in data[-_END_WINDOW:]:
        whole = whole_jpeg(data)
    if not whole:
        raise _undecodable(where)
    return whole


def _decode(data: bytes, where: str) -> tuple[NDArray[np.uint8], int]:
    """Decode to (H,W,3) RGB; returns the bits that the samples were taken to have, too."""
    whole = _whole_file(data, where)
    samples: NDArray[np.generic] | None = None
    with suppress(cv2.error):  # of a size that OpenCV refuses
        samples = cv2.imdecode(np.frombuffer(whole, np.uint8), _FLAGS)
    if samples is None or (samples.dtype == np.uint8 and whole.startswith(_BLENDED)):
        header = read_header(BytesIO(whole), where)
        if samples is None or header.alpha:
            samples = _decode_by_pillow(whole, header)
    if samples is None:
        raise _undecodable(where)
    if samples.dtype == np.uint8:
        image = samples.view(np.uint8)
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image), dtype=np.uint8), DEPTHS[0]
    image, bits = _to_8_bits(samples, where)
    return (~image if white_is_zero(whole) else image), bits


def _decode_by_pillow(data: bytes, header: ImageHeader) -> NDArray[np.generic] | None:
    """Decode to (H,W,3) BGR samples of 8 bits, or of 32 if the file has such integers; None if Pillow cannot."""
    try:
        with open_image(BytesIO(data)) as image:
            if image.mode == "I":
                return _repeated(image)
            if header.bits > DEPTHS[0] or image.mode == "F":  # which Pillow would cut off
                return None
            return np.array(np.asarray(image.convert("RGB"))[..., ::-1])
    except (*WRONG_FILE, Image.DecompressionBombError):
        return None


def _repeated(gray: Image.Image) -> NDArray[np.generic]:
    """Return the samples of an image with one channel as (H,W,3)."""
    return np.repeat(np.asarray(gray)[..., None], 3, axis=2)


def _to_8_bits(samples: NDArray[np.generic], where: str) -> tuple[NDArray[np.uint8], int]:
    """Scale (H,W,3) BGR samples of another type to 8-bit RGB; returns the bits that they were taken to have, too."""
    lowest, highest = samples.min().item(), samples.max().item()
    bits = next((bits for bits in DEPTHS if highest < 1 << bits), None)
    if not np.issubdtype(samples.dtype, np.integer) or lowest < 0 or bits is None:
        found = f"the image has {samples.dtype} samples from {lowest:g} to {highest:g}"
        raise UnsupportedImageError(f"{where}: {found}; scale them to 0 to 65535 and save it with 16 bits a sample")
    return np.ascontiguousarray(samples[..., ::-1].astype(np.uint16) >> (bits - DEPTHS[0]), dtype=np.uint8), bits


def _undecodable(where: str) -> DatasetError:
    return DatasetError(f"{where}: the image cannot be decoded (cut short or damaged); replace the file")
