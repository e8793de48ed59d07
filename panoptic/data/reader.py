"""Reading images and their id maps from folders or zip files, in any number of processes."""

from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from panoptic.format.id_map import decode_id_map
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.io.errors import DatasetError
from panoptic.io.png import claimed_header

# In bytes. Some programs append a little after the end mark; that of an embedded thumbnail is farther away.
_END_WINDOW = 1024
# The first and the last bytes of PNG and JPEG files.
_MARKS = ((b"\x89PNG", b"IEND\xaeB`\x82"), (b"\xff\xd8", b"\xff\xd9"))


@dataclass(frozen=True)
class Sample:
    """An image (H,W,3) uint8 RGB, its id map (H,W) int32, and a record whose size and segments agree with them."""

    image: NDArray[np.uint8]
    ids: NDArray[np.int32]
    record: ImageRecord


class PanopticReader:
    """Reads the images of an index. Cheap to pickle for data loader workers."""

    def __init__(self, index: PanopticIndex) -> None:
        self.index = index
        self._images = index.image_files()
        self._masks = index.mask_files()

    def image(self, record: ImageRecord) -> NDArray[np.uint8]:
        """Read an image, (H,W,3) uint8 RGB. Raises `DatasetError` if it is missing, damaged or of another size."""
        where = f"{self._images.path}: {record.file_name}"
        data = self._images.read(record.file_name)
        _check_size(claimed_size(data, where), record, where)
        return decode_image(data, where)

    def id_map(self, record: ImageRecord) -> NDArray[np.int32]:
        """Read an id map, (H,W) int32. Raises `DatasetError` if it is missing, damaged or of another size."""
        where = f"{self._masks.path}: {record.mask_name}"
        data = self._masks.read(record.mask_name)
        if header := claimed_header(data):  # without one, decoding raises the error
            _check_size((header.height, header.width), record, where)
        return decode_id_map(data, where)

    def sample(self, record: ImageRecord) -> Sample:
        """Read an image together with its id map."""
        return Sample(self.image(record), self.id_map(record), record)


def claimed_size(data: bytes, where: str) -> tuple[int, int]:
    """Return height and width from the header of an image file, before memory is allocated for its pixels.

    `where` names the file in errors. Raises `DatasetError` if it is not an image, or if it has so many pixels that
    Pillow takes it for a decompression bomb.
    """
    try:
        with Image.open(BytesIO(data)) as header:
            width, height = header.size
    except Image.DecompressionBombError:
        raise DatasetError(f"{where}: the image claims more pixels than are read; replace the file") from None
    except (UnidentifiedImageError, OSError):
        raise DatasetError(
            f"{where}: the image cannot be decoded (cut short, or of another type); replace the file"
        ) from None
    return height, width


def exif_orientation(image: Image.Image) -> int:
    """Read the EXIF orientation: 1 as stored, 2 to 8 mirrored or rotated, from 5 on with height and width swapped.

    Raises many types of errors for damaged EXIF data, as Pillow does.
    """
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # Pillow would decode the whole image to look for EXIF data behind its pixels
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if orientation in range(2, 9) else 1


def decode_image(data: bytes, where: str) -> NDArray[np.uint8]:
    """Decode the bytes of an image file to (H,W,3) uint8 RGB; `where` names it in errors.

    The EXIF orientation is ignored, because COCO's annotations refer to the stored pixels. Raises `DatasetError` if the
    image cannot be decoded.
    """
    # OpenCV silently fills the missing part of a file that was cut short with gray.
    cut_short = any(data.startswith(begin) and end not in data[-_END_WINDOW:] for begin, end in _MARKS)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data and not cut_short else None
    if image is None:
        raise DatasetError(f"{where}: the image cannot be decoded (cut short or damaged); replace the file")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image), dtype=np.uint8)


def _check_size(shape: tuple[int, int], record: ImageRecord, where: str) -> None:
    if shape != (record.height, record.width):
        sizes = f"found {shape[0]} x {shape[1]}, expected {record.height} x {record.width} (height x width)"
        raise DatasetError(f"{where}: {sizes}; run stages.annotate again")
