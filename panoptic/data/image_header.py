"""What the header of an image file says, read before memory is allocated for its pixels.

One rule for EXIF orientation holds everywhere. Annotations belong to the pixels as they are stored, as in COCO, so an
index of annotated images ignores the orientation; `panoptic.tools.convert` turns photos upright that were annotated
that way. Photos without annotations are turned upright, as every viewer shows them. `PanopticIndex.upright` says which
of the two an index is. The orientation of a TIFF is part of its format: all decoders apply it, so it has none here.
"""

import struct
import warnings
from dataclasses import dataclass
from functools import cache
from io import SEEK_CUR, BytesIO
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin

from panoptic.io.errors import DatasetError
from panoptic.io.png import claimed_header

# Raised by Pillow for a file that begins like an image.
WRONG_FILE = (OSError, SyntaxError, ValueError, KeyError, TypeError, IndexError, RuntimeError, struct.error)
_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR, _SAMPLE_FORMAT = 258, 262, 284, 339  # tags of a TIFF
_SAMPLES = {1: "unsigned integer", 2: "signed integer", 3: "floating-point", 5: "complex", 6: "complex"}
_FLOATING_POINT = 3
_SEPARATE = 2
_HINT = "scale them, and save the image with 8 or 16 bits a sample"
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_PNG_SIGNATURE = 8  # bytes
_BEGIN = 26  # bytes that have the header of a PNG, and the type of any other file
_JPEG_XL = ("is a JPEG XL image", "convert it to JPEG or PNG")
_PROGRAM = ("is PostScript, a program that is never run", "export it as JPEG or PNG")
# For these Pillow starts a program that is installed, such as Ghostscript, or has no decoder of its own.
_OUTSIDE_PILLOW = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
# What else is found under the names of images, by its first bytes, and what to do about it.
_OTHER_TYPES = (
    (b"version https://git-lfs", "is in Git LFS, and this file only points to it", "fetch it with: git lfs pull"),
    (b"<", "is a text, such as a web page or an SVG", "fetch or export it again, as JPEG or PNG"),
    (b"%!PS", *_PROGRAM),
    (b"\xc5\xd0\xd3\xc6", *_PROGRAM),
    (b"%PDF", "is a PDF document", "export its pages as JPEG or PNG"),
    (b"\xff\n", *_JPEG_XL),
    (b"\0\0\0\x0cJXL ", *_JPEG_XL),
)


class UnsupportedImageError(DatasetError):
    """The image is sound, but of a type that is not read."""


class EnormousImageError(DatasetError):
    """The image has so many pixels that Pillow takes it for a decompression bomb."""


@dataclass(frozen=True)
class ImageHeader:
    """Height and width of the stored pixels, and what else matters about a file.

    `orientation` is that of EXIF: 1 as stored, 2 to 8 mirrored or rotated, from 5 on with height and width swapped.
    `bits` are those of a sample; `frames` is the number of images in the file, of which the first is read.
    """

    height: int
    width: int
    orientation: int = 1
    bits: int = 8
    frames: int = 1
    alpha: bool = False

    def size(self, upright: bool) -> tuple[int, int]:
        """Return height and width of the image, as it is stored or turned upright."""
        return (self.width, self.height) if upright and self.orientation >= 5 else (self.height, self.width)


def open_image(file: IO[bytes]) -> Image.Image:
    """Open an image file like `Image.open`, but of no type for which Pillow would start another program."""
    return Image.open(file, formats=_formats())


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(sorted(Image.OPEN.keys() - _OUTSIDE_PILLOW))


def read_header(file: IO[bytes], where: str) -> ImageHeader:
    """Read the header of an image file; `where` names it in errors.

    Raises `DatasetError` if it is not an image, is enormous, or is of a type that is not read.
    """
    begin = file.read(_BEGIN)
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damaged EXIF data, and about sizes that are checked elsewhere
            with open_image(file) as image:
                return _header(image, file, begin, where)
    except Image.DecompressionBombError:
        raise EnormousImageError(f"{where}: the image claims more pixels than are read; replace the file") from None
    except UnsupportedImageError:
        raise
    except WRONG_FILE:
        _refuse_type(file, begin, where)
        found = "cut short, or of another type" if begin else "the file is empty"
        raise DatasetError(f"{where}: the image cannot be decoded ({found}); replace the file") from None


def white_is_zero(data: bytes) -> bool:
    """Tell whether a file is a TIFF in which 0 means white, which OpenCV heeds for samples of 8 bits alone."""
    try:
        with open_image(BytesIO(data)) as image:
            return isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == 0
    except WRONG_FILE:  # of another type, which OpenCV reads
        return False


def turned_upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn (H,W,C) pixels as their EXIF orientation says."""
    if orientation in (3, 4, 6, 7):
        pixels = pixels[::-1]
    if orientation in (2, 3, 7, 8):
        pixels = pixels[:, ::-1]
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    return np.ascontiguousarray(pixels)


def _header(image: Image.Image, file: IO[bytes], begin: bytes, where: str) -> ImageHeader:
    bits = 16 if image.mode.startswith("I") else 8
    if png := claimed_header(begin):
        bits = png.bits
    elif isinstance(image, TiffImagePlugin.TiffImageFile):
        _require_integers(image.tag_v2, where)
        samples = image.tag_v2.get(_BITS_PER_SAMPLE, (8,))
        bits = max(samples)
        if bits > 8 and len(samples) > 1 and image.tag_v2.get(_PLANAR) == _SEPARATE:
            found = f"the TIFF has {bits}-bit samples, each channel in a plane of its own"  # decoders mix them up
            raise UnsupportedImageError(f"{where}: {found}; save it with the channels of a pixel together, or as PNG")
    # The other images of an MPO are a thumbnail or a map of brightness, as phones add them.
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    # Of a PNG, Pillow would decode all pixels to look for EXIF data behind them.
    orientation = 1 if image.format == "PNG" and not _has_exif(image, file) else orientation_of(image)
    return ImageHeader(image.height, image.width, orientation, bits, frames, image.has_transparency_data)


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation; 1 if there is none or its data are damaged, because the pixels may be sound."""
    if image.format == "TIFF":
        return 1
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except WRONG_FILE:
        return 1
    return orientation if orientation in range(2, 9) else 1


def _has_exif(image: Image.Image, file: IO[bytes]) -> bool:
    """Tell whether a PNG has EXIF data, before its pixels, behind them, or as a text, as some programs write them."""
    if "exif" in image.info or "Raw profile type exif" in image.info:
        return True
    start = file.tell()
    file.seek(_PNG_SIGNATURE)
    found = False
    while not found and len(head := file.read(8)) == 8:
        length, chunk_type = struct.unpack(">I4s", head)
        found = chunk_type == b"eXIf"
        file.seek(length + 4, SEEK_CUR)
    file.seek(start)
    return found


def _refuse_type(file: IO[bytes], begin: bytes, where: str) -> None:
    """Raise `UnsupportedImageError` if Pillow does not know a file, but its type can be named."""
    for first, what, hint in _OTHER_TYPES:
        if begin.startswith(first):
            raise UnsupportedImageError(f"{where}: the image {what}; {hint}")
    if begin[4:8] == b"ftyp" and begin[8:12] in _HEIC:
        raise UnsupportedImageError(f"{where}: the image is a HEIC photo, whatever its name; convert it to JPEG or PNG")
    if begin[:4] not in (b"II*\0", b"MM\0*"):
        return
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(begin[:8])
        file.seek(tags.next)
        tags.load(file)
    except WRONG_FILE:
        return
    _require_integers(tags, where)
    if tags.get(_SAMPLE_FORMAT):
        raise UnsupportedImageError(f"{where}: the TIFF has {_samples(tags)} samples, which are not read; {_HINT}")


def _require_integers(tags: TiffImagePlugin.ImageFileDirectory_v2, where: str) -> None:
    if max(tags.get(_SAMPLE_FORMAT, (1,))) >= _FLOATING_POINT:
        raise UnsupportedImageError(f"{where}: the TIFF has {_samples(tags)} samples, not integers; {_HINT}")


def _samples(tags: TiffImagePlugin.ImageFileDirectory_v2) -> str:
    kind = _SAMPLES.get(max(tags.get(_SAMPLE_FORMAT, (1,))), "unknown")
    return f"{max(tags.get(_BITS_PER_SAMPLE, (1,)))}-bit {kind}"
