"""Images of a run as data URIs: image, ground truth and prediction, and one image under every corruption."""

import io
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from panoptic.data.decoding import decode_upright
from panoptic.error_browser.entries import BrowserEntry, SegmentEntry
from panoptic.format.categories import CategoryTable
from panoptic.format.segments import SegmentLabel
from panoptic.io.errors import DatasetError
from panoptic.io.reading import read_file
from panoptic.io.zip_archive import ZipArchive
from panoptic.report.browsed import Browsed, ImageLine
from panoptic.visualization import Segmentation, draw_panels

_PANEL_SIDE, _STRIP_SIDE = 640, 256  # pixels, at most
_QUALITY = 82


@dataclass(frozen=True)
class Panel:
    """An image as a data URI, with its title and size."""

    title: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Example:
    """An image of the split with its panels."""

    entry: BrowserEntry
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Corrupted:
    """An image, corrupted or not, and what is predicted for it."""

    entry: BrowserEntry
    image: Panel
    prediction: Panel


class ImageFiles:
    """The images and maps that the browse stage recorded."""

    def __init__(self, browsed: Browsed) -> None:
        self._browsed, self._archive = browsed, ZipArchive(browsed.folder / "files.zip")

    def example(self, line: ImageLine) -> Example:
        """Draw image, ground truth and prediction of a clean image."""
        entry, categories = self._browsed.entry(line), self._browsed.categories
        drawn = draw_panels(self._image(entry), *self.segmentations(entry), categories)
        return Example(
            entry, [make_panel(title, Image.fromarray(panel), _PANEL_SIDE) for title, panel in drawn.items()]
        )

    def segmentations(self, entry: BrowserEntry) -> tuple[Segmentation, Segmentation]:
        """Return the ground truth and the prediction of an image."""
        stuff = {"ground_truth": entry.stuff_ground_truth, "prediction": entry.stuff_prediction}
        gt, prediction = (
            Segmentation(self._id_map(entry, segments, stuff[side]), _labels(segments))
            for side, segments in entry.segments.items()
        )
        return gt, prediction

    def corrupted(self, line: ImageLine) -> Corrupted:
        """Take the image and its prediction as they were recorded."""
        entry = self._browsed.entry(line)
        image = Image.fromarray(self._image(entry))
        overlay = Image.fromarray(self._recorded(entry.overlay))
        sides = make_panel("image", image, _STRIP_SIDE), make_panel("prediction", overlay, _STRIP_SIDE)
        return Corrupted(entry, *sides)

    def _image(self, entry: BrowserEntry) -> NDArray[np.uint8]:
        if entry.image is None:
            name = f"{entry.overlay.rpartition('/')[0]}/image.jpg"
            return _sized(self._recorded(name), entry, entry.overlay)
        path = Path(entry.image)
        try:
            return _sized(decode_upright(read_file(path), entry.image), entry, entry.image)
        except DatasetError as error:
            where = "image files are named from the folder in which the run was made; start the command there"
            raise DatasetError(f"{error} ({where})") from None

    def _id_map(self, entry: BrowserEntry, segments: Sequence[SegmentEntry], stuff: str) -> NDArray[np.int32]:
        """Put the map of stuff and the masks of things together again."""
        categories: CategoryTable = self._browsed.categories
        labels = _sized(self._recorded(stuff, "I"), entry, stuff)
        ids = np.zeros(labels.shape, np.int32)
        for segment in segments:
            if segment.mask is None:
                ids[labels == categories.label_of(segment.category_id) + 1] = segment.id
                continue
            left, top, width, height = segment.box_xywh
            inside = self._recorded(segment.mask, "L") > 0
            box = ids[top : top + height, left : left + width]
            if inside.shape != box.shape:
                raise DatasetError(
                    f"{self._archive.path}: '{segment.mask}' is not of the size of its box; browse again"
                )
            box[inside] = segment.id
        return ids

    def _recorded(self, name: str, mode: str = "RGB") -> NDArray[np.uint8]:
        return decode_drawn(self._archive.read(name), f"{self._archive.path}: '{name}'", mode)


def make_panel(title: str, image: Image.Image, side: int) -> Panel:
    """Encode an image, shrunk if a side is longer than `side`."""
    scale = min(1.0, side / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    file = io.BytesIO()
    image.resize(size, Image.Resampling.LANCZOS).save(file, "WEBP", quality=_QUALITY, method=4)
    return Panel(title, f"data:image/webp;base64,{b64encode(file.getvalue()).decode()}", *size)


def decode_drawn(data: bytes, where: str, mode: str = "RGB", stage: str = "browse") -> NDArray[np.uint8]:
    """Decode an image that a stage has drawn. Raises `DatasetError` if it is damaged."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert(mode))
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{where}: cannot be read as an image ({error}); run `dvc repro {stage}` again") from None


def _sized(image: NDArray[np.uint8], entry: BrowserEntry, where: str) -> NDArray[np.uint8]:
    if image.shape[:2] != (entry.height, entry.width):
        found = f"is {image.shape[1]} x {image.shape[0]}, expected {entry.width} x {entry.height}"
        raise DatasetError(f"{where}: {found}: it has changed since; run `dvc repro browse` again")
    return image


def _labels(segments: Sequence[SegmentEntry]) -> list[SegmentLabel]:
    return [SegmentLabel(segment.id, segment.category_id, segment.is_crowd) for segment in segments]
