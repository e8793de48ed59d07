"""A small sound dataset of two splits in COCO panoptic layout, and ways to spoil it, for tests of `check`."""

import json
import struct
import zlib
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from panoptic.format.id_map import decode_id_map, encode_id_map
from panoptic.format.segments import measure_segments
from tests.tiny_dataset import random_image, write_split

JsonDict = dict[str, list[dict[str, object]]]


class MadeDataset:
    """Splits `train` (image ids 1 to 6) and `val` (11 to 16); images are 24 x 32, their segments 8 x 8 blocks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        rng = np.random.default_rng(11)
        for split, first in (("train", 1), ("val", 11)):
            write_split(root, split, [random_image(rng, first + n, spots=0, side=8) for n in range(6)])
            self.edit(split, partial(self._add_claims, split))

    def json(self, split: str = "val") -> Path:
        return self.root / "annotations" / f"panoptic_{split}.json"

    def image(self, number: int, split: str = "val") -> Path:
        return self.root / split / f"{number:06d}.png"

    def mask(self, number: int, split: str = "val") -> Path:
        return self.root / "annotations" / f"panoptic_{split}" / f"{number:06d}.png"

    def ids(self, number: int, split: str = "val") -> NDArray[np.int32]:
        return decode_id_map(self.mask(number, split).read_bytes(), "")

    def draw(self, number: int, ids: NDArray[np.int32]) -> None:
        self.mask(number).write_bytes(encode_id_map(ids))

    def edit(self, split: str, change: Callable[[JsonDict], object]) -> None:
        document = json.loads(self.json(split).read_text())
        change(document)
        self.json(split).write_text(json.dumps(document))

    def segments(self, document: JsonDict, position: int = 0) -> list[dict[str, object]]:
        """The segments of an image, by its position in the JSON."""
        segments = document["annotations"][position]["segments_info"]
        assert isinstance(segments, list)
        return segments

    def _add_claims(self, split: str, document: JsonDict) -> None:
        """True areas and boxes, which `write_split` leaves out."""
        for position, annotation in enumerate(document["annotations"]):
            extents = measure_segments(self.ids(int(str(annotation["file_name"])[:6]), split))
            for segment in self.segments(document, position):
                extent = extents[int(str(segment["id"]))]
                segment.update(area=extent.area, bbox=list(extent.box_xywh))


def jpeg_with_orientation(height: int, width: int, orientation: int) -> bytes:
    """A JPEG of a stored size with an EXIF orientation."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = BytesIO()
    image.save(file, "JPEG", exif=exif)
    return file.getvalue()


def claim_enormous(file: Path) -> None:
    """The header of a PNG says 60 000 x 60 000 pixels, with the checksum that belongs to it."""
    data = file.read_bytes()
    header = b"IHDR" + struct.pack(">II", 60_000, 60_000) + data[24:29]
    file.write_bytes(data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:])


def halve(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])


def save_as_gray(file: Path) -> None:
    cv2.imwrite(str(file), np.zeros((24, 32), np.uint8))
