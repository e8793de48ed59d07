"""Images to check exported files with, at the size of the network's input."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.export.sizes import ExportError, Sizes
from model.inference.bit_masks import Size
from model.pixels import normalize
from panoptic.data.decoding import decode_upright
from panoptic.data.reader import PanopticReader
from panoptic.data.transforms import resize_for_inference, resize_image
from panoptic.evaluation.image import SegmentedImage
from panoptic.format.categories import CategoryTable
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.io.errors import DatasetError
from panoptic.io.reading import read_file

INDEXED_IMAGES = 3
NOISE = ((96, 128), (128, 96), (128, 160))
"""(height, width) of the noise that replaces images where none are given."""


@dataclass(frozen=True)
class Image:
    """An image (h, w, 3) uint8 RGB at the size of the network's input, and its name in messages."""

    name: str
    pixels: npt.NDArray[np.uint8]
    original: Size
    """(height, width) as read."""

    @property
    def size(self) -> Size:
        """(height, width) for the network."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def tensor(self) -> Tensor:
        """Return the normalized image (1, 3, H, W)."""
        return normalize(torch.from_numpy(self.pixels)[None])


@dataclass(frozen=True)
class Labeled:
    """An image of an index, with its ground truth."""

    reader: PanopticReader
    record: ImageRecord

    def image(self) -> Image:
        """Read the image."""
        return _as_read(self.record.file_name, self.reader.image(self.record))

    def ground_truth(self) -> SegmentedImage:
        """Read its id map."""
        return SegmentedImage(self.reader.id_map(self.record), self.record.segments)


@dataclass(frozen=True)
class LabeledImages:
    """Images with ground truth, read one at a time."""

    samples: Sequence[Labeled]
    fit: Callable[[Image], Image]  # to the size of the network's input

    def read(self) -> Iterator[tuple[Image, SegmentedImage]]:
        """Read each image and its ground truth."""
        for sample in self.samples:
            yield self.fit(sample.image()), sample.ground_truth()


def from_files(paths: Sequence[Path]) -> list[Image]:
    """Read images at their own size."""
    return [_as_read(str(path), _read(path)) for path in paths]


def from_index(path: Path) -> list[Image]:
    """Read the first images of an index."""
    index = PanopticIndex.load(path)
    reader = PanopticReader(index)
    return [Labeled(reader, record).image() for record in index.records[:INDEXED_IMAGES]]


def labeled(path: Path, count: int, categories: CategoryTable) -> list[Labeled]:
    """Read the first images of an index with their ground truth, each when it is asked for; 0: all.

    Raises:
        DatasetError: the categories of the index are others.
    """
    index = PanopticIndex.load(path)
    categories.require_same(index.categories, str(path), "the weights", "give a split of the dataset they are for")
    reader = PanopticReader(index)
    return [Labeled(reader, record) for record in index.records[: count or None]]


def noise() -> list[Image]:
    """Make images of seeded noise."""
    rng = np.random.default_rng(0)
    return [
        _as_read(f"noise {index}", rng.integers(0, 256, (*size, 3), np.uint8)) for index, size in enumerate(NOISE, 1)
    ]


def _as_read(name: str, pixels: npt.NDArray[np.uint8]) -> Image:
    return Image(name, pixels, (pixels.shape[0], pixels.shape[1]))


def resized(image: Image, size: tuple[int, int]) -> Image:
    """Resize an image to (height, width), ignoring its aspect ratio."""
    return replace(image, pixels=resize_image(image.pixels, *size))


def fitted(image: Image, sizes: Sizes, shorter: int, longer: int) -> Image:
    """Resize an image to the size of the network's input.

    Raises:
        ExportError: it is too small or too large.
    """
    if sizes.fixed:
        return resized(image, sizes.fixed)
    pixels = resize_for_inference(image.pixels, shorter, longer)
    height, width = sizes.nearest(*pixels.shape[:2])
    sizes.require(height, width, image.name)
    return resized(replace(image, pixels=pixels), (height, width))


def _read(path: Path) -> npt.NDArray[np.uint8]:
    try:
        return decode_upright(read_file(path), str(path))
    except (OSError, DatasetError) as error:
        raise ExportError(f"{path} cannot be read as an image ({error}); give a JPEG or PNG file") from error
