"""Reading the maps that some datasets have for each image: PNGs of its size, whose pixels are labels."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import UnidentifiedImageError

from panoptic.data.decoding import verify_image
from panoptic.data.image_header import open_image, read_header
from panoptic.datasets.layout import Part
from panoptic.io.errors import DatasetError
from panoptic.io.files import opened_files
from panoptic.io.png import PngHeader, claimed_header

Labels = TypeVar("Labels", np.uint8, np.uint16)


@dataclass(frozen=True)
class StoredMap:
    """A PNG with the size of its image; `where` names it in errors, `again` says how to get it again."""

    data: bytes
    where: str
    header: PngHeader
    again: str

    def decode_gray(self, labels: type[Labels]) -> NDArray[Labels]:
        """Decode to (H,W) labels. Raises `DatasetError` unless it is undamaged, gray, and of as many bits."""
        bits = np.iinfo(labels).bits
        if (self.header.bits, self.header.color_type) != (bits, 0):
            found = f"{self.header.bits} bits of color type {self.header.color_type}"
            expected = f"expected {bits} of type 0, gray, which are labels"
            raise DatasetError(f"{self.where}: the PNG has {found}; {expected}; {self.again}")
        try:
            with open_image(BytesIO(self.data)) as image:
                image.verify()  # the checksums, which decoding ignores
            with open_image(BytesIO(self.data)) as image:
                return np.asarray(image, labels)
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError, zlib.error, struct.error):
            raise DatasetError(f"{self.where}: the PNG is damaged; {self.again}") from None


def read_maps(
    images: Part, maps: Sequence[Part], stem: str, again: str
) -> tuple[tuple[int, int], tuple[StoredMap, ...]]:
    """Verify the image of a stem and read its maps; returns height and width of all, and the maps.

    Raises `DatasetError` if the image cannot be decoded, or a map is missing, no PNG or of another size.
    """
    data, where = _read(images, stem)
    size = read_header(BytesIO(data), where).size(upright=False)
    # All sizes first: a file that claims to be enormous is never decoded.
    stored = tuple(_stored(*_read(part, stem), size, again) for part in maps)
    verify_image(data, where)
    return size, stored


def _read(part: Part, stem: str) -> tuple[bytes, str]:
    """Read the file of a stem; returns its content and its name for errors."""
    name = part.name(stem)
    return opened_files(part.path).read(name), f"{part.path}: {name}"


def _stored(data: bytes, where: str, size: tuple[int, int], again: str) -> StoredMap:
    header = claimed_header(data)
    if header is None:
        raise DatasetError(f"{where}: not a PNG file; {again}")
    if (header.height, header.width) != size:
        sizes = f"{header.height} x {header.width} (height x width), but that of its image is {size[0]} x {size[1]}"
        raise DatasetError(f"{where}: the size is {sizes}; {again}")
    return StoredMap(data, where, header, again)
