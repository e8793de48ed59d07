"""Images to check exported files with."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.export.sizes import ExportError
from model.inference.predictor import NetworkInput
from panoptic.data.decoding import decode_upright
from panoptic.data.reader import PanopticReader
from panoptic.data.transforms import resize_image
from panoptic.evaluation.image import SegmentedImage
from panoptic.format.categories import CategoryTable
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.io.errors import DatasetError
from panoptic.io.reading import read_file

INDEXED_IMAGES = 3
NOISE = ((96, 128), (128, 96), (128, 160))
"""(height, width) of the noise that replaces images where none are given."""


@dataclass(frozen=True)
class LabeledImages:
    """Images of an index with their ground truth, read one at a time."""

    reader: PanopticReader
    records: Sequence[ImageRecord]
    fit: Callable[[NetworkInput], NetworkInput]  # to the size of the network's input

    def read(self) -> Iterator[tuple[NetworkInput, SegmentedImage]]:
        """Read each image and its ground truth."""
        for record in self.records:
            ground_truth = SegmentedImage(self.reader.id_map(record), record.segments)
            yield self.fit(_as_read(self.reader, record)), ground_truth


def from_files(paths: Sequence[Path]) -> list[NetworkInput]:
    """Read images at their own size."""
    return [at_own_size(_read(path), str(path)) for path in paths]


def from_index(path: Path) -> list[NetworkInput]:
    """Read the first images of an index.

    Raises:
        ExportError: it has none.
    """
    index = PanopticIndex.load(path)
    if not index.records:
        raise ExportError(f"{path}: has no image to check with; give --images, or an index that has some")
    reader = PanopticReader(index)
    return [_as_read(reader, record) for record in index.records[:INDEXED_IMAGES]]


def labeled(
    path: Path, count: int, categories: CategoryTable, fit: Callable[[NetworkInput], NetworkInput]
) -> LabeledImages:
    """Find the first images of an index, or all if `count` is 0.

    Raises:
        DatasetError: the categories of the index are others.
    """
    index = PanopticIndex.load(path)
    categories.require_same(index.categories, str(path), "the weights", "give a split of the dataset they are for")
    return LabeledImages(PanopticReader(index), index.records[: count or None], fit)


def noise() -> list[NetworkInput]:
    """Make images of seeded noise."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*size, 3), np.uint8) for size in NOISE]
    return [at_own_size(image, f"noise {number}") for number, image in enumerate(images, 1)]


def at_own_size(pixels: npt.NDArray[np.uint8], name: str) -> NetworkInput:
    """Let an image be at the size of the network's input already."""
    return NetworkInput(pixels, (pixels.shape[0], pixels.shape[1]), name)


def _as_read(reader: PanopticReader, record: ImageRecord) -> NetworkInput:
    return at_own_size(reader.image(record), record.file_name)


def resized(image: NetworkInput, size: tuple[int, int]) -> NetworkInput:
    """Resize an image to (height, width), ignoring its aspect ratio."""
    return replace(image, pixels=resize_image(image.pixels, *size))


def _read(path: Path) -> npt.NDArray[np.uint8]:
    try:
        return decode_upright(read_file(path), str(path))
    except (OSError, DatasetError) as error:
        raise ExportError(f"{path} cannot be read as an image ({error}); give a JPEG or PNG file") from error
