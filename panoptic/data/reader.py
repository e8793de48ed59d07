"""Reading images and their id maps from folders or zip files, in any number of processes."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from panoptic.data.decoding import DEPTHS, decode_image, reading_notes
from panoptic.data.image_header import read_header, turned_upright
from panoptic.format.id_map import decode_id_map
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.io.errors import DatasetError
from panoptic.io.png import claimed_header

_SHOWN_BY_BROWSERS = (".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".webp")


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
        """Read an image, (H,W,3) uint8 RGB, upright if the index says so.

        Raises `DatasetError` if it is missing, damaged or of another size.
        """
        where = f"{self._images.path}: {record.file_name}"
        data = self._images.read(record.file_name)
        header = read_header(BytesIO(data), where)
        _check_size(header.size(self.index.upright), record, where)
        image = decode_image(data, where)
        return turned_upright(image, header.orientation) if self.index.upright else image

    def shown_as_read(self, record: ImageRecord) -> bool:
        """Tell whether a browser shows the file of an image as it is read here."""
        name = record.file_name
        header = read_header(BytesIO(self._images.read(name)), f"{self._images.path}: {name}")
        turned = header.orientation != 1 and not self.index.upright
        changed = turned or header.alpha or header.bits > DEPTHS[0]
        return name.lower().endswith(_SHOWN_BY_BROWSERS) and not changed

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


def print_reading_notes(index: PanopticIndex) -> None:
    """Print which images are not read as a viewer shows them, if there are any."""
    names = (record.file_name for record in index.records)
    for note in reading_notes(index.image_files(), names, index.upright):
        print(note)


def _check_size(shape: tuple[int, int], record: ImageRecord, where: str) -> None:
    if shape != (record.height, record.width):
        sizes = f"found {shape[0]} x {shape[1]}, expected {record.height} x {record.width} (height x width)"
        raise DatasetError(f"{where}: {sizes}; write the index again, with the command that made it")
