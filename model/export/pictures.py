"""The pictures that an exported network is checked on."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from model.export.checking import Picture
from model.export.sizes import ExportError, Sizes
from panoptic.augmentation import resize_for_inference
from panoptic.index import PanopticIndex
from panoptic.reader import PanopticReader
from panoptic.transforms import resize_image

COUNT = 3
NOISE = ((96, 128), (128, 96), (128, 160))
"""(height, width) of what stands in for pictures where none are given."""


def from_files(paths: Sequence[Path]) -> list[Picture]:
    """The pictures as they lie there."""
    return [Picture(str(path), _read(path)) for path in paths]


def from_index(path: Path) -> list[Picture]:
    """The first pictures of an index."""
    index = PanopticIndex.load(path)
    reader = PanopticReader(index)
    return [Picture(record.file_name, reader.image(record)) for record in index.records[:COUNT]]


def noise() -> list[Picture]:
    """Seeded, for a network of random weights."""
    rng = np.random.default_rng(0)
    return [
        Picture(f"noise {number}", rng.integers(0, 256, (*size, 3), np.uint8)) for number, size in enumerate(NOISE, 1)
    ]


def resized(picture: Picture, size: tuple[int, int]) -> Picture:
    """At (height, width), whatever its own ratio."""
    return Picture(picture.name, resize_image(picture.pixels, *size))


def fitted(picture: Picture, sizes: Sizes, shorter: int, longer: int) -> Picture:
    """The picture at the size of the network's input. Raises `ExportError` for one that cannot be."""
    if sizes.fixed:
        return resized(picture, sizes.fixed)
    pixels = resize_for_inference(picture.pixels, shorter, longer)
    height, width = sizes.nearest(*pixels.shape[:2])
    sizes.require(height, width, picture.name)
    return resized(Picture(picture.name, pixels), (height, width))


def _read(path: Path) -> npt.NDArray[np.uint8]:
    found = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if found is None:
        raise ExportError(f"{path} cannot be read as a picture; give a JPEG or PNG file")
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), np.uint8)
