"""Reading images with their id maps, from folders or from zip files, by any number of processes."""

from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from panoptic.format.id_map import decode_id_map
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.io.errors import DatasetError
from panoptic.io.png import claimed_header

_END_WINDOW = 1024  # bytes: some programs add a little behind the end; that of a thumbnail inside lies far before
# How PNG and JPEG files begin and end.
_MARKS = ((b"\x89PNG", b"IEND\xaeB`\x82"), (b"\xff\xd8", b"\xff\xd9"))


@dataclass(frozen=True)
class Sample:
    """An image (H,W,3) uint8 RGB, its id map (H,W) int32, and the record, in which sizes and segments agree."""

    image: NDArray[np.uint8]
    ids: NDArray[np.int32]
    record: ImageRecord


class PanopticReader:
    """Reads the images of an index. Cheap to pickle into loader workers."""

    def __init__(self, index: PanopticIndex) -> None:
        self.index = index
        self._images = index.image_files()
        self._masks = index.mask_files()

    def image(self, record: ImageRecord) -> NDArray[np.uint8]:
        """(H,W,3) uint8 RGB. Raises `DatasetError` if it is missing, damaged or of another size."""
        where = f"{self._images.path}: {record.file_name}"
        data = self._images.read(record.file_name)
        _check_size(claimed_size(data, where), record, where)
        return decode_image(data, where)

    def id_map(self, record: ImageRecord) -> NDArray[np.int32]:
        """(H,W) int32. Raises `DatasetError` if it is missing, damaged or of another size."""
        where = f"{self._masks.path}: {record.mask_name}"
        data = self._masks.read(record.mask_name)
        if header := claimed_header(data):  # without one decoding tells what is wrong
            _check_size((header.height, header.width), record, where)
        return decode_id_map(data, where)

    def sample(self, record: ImageRecord) -> Sample:
        """Image and id map together."""
        return Sample(self.image(record), self.id_map(record), record)


def claimed_size(data: bytes, where: str) -> tuple[int, int]:
    """Height and width that the header of an image file gives, before memory is taken for so many pixels.

    `where` names the file in errors. Raises `DatasetError` for what is no image, and for more pixels than Pillow takes
    for honest.
    """
    try:
        with Image.open(BytesIO(data)) as header:
            width, height = header.size
    except Image.DecompressionBombError:
        raise DatasetError(f"{where}: the image claims more pixels than are read; replace the file") from None
    except (UnidentifiedImageError, OSError):
        raise DatasetError(
            f"{where}: the image cannot be decoded (cut short, or of another kind); replace the file"
        ) from None
    return height, width


def decode_image(data: bytes, where: str) -> NDArray[np.uint8]:
    """The bytes of an image file to (H,W,3) uint8 RGB; `where` names it in errors.

    A rotation noted in the file (EXIF) is ignored, because COCO's annotations are drawn on the stored pixels.
    """
    # OpenCV fills what is missing of a file that was cut short with gray and says nothing.
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
