"""Files of the data access benchmark: an index as large as COCO's, and small images zipped and loose."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from benchmarks.harness.synthetic import made_categories
from panoptic.format.segments import Segment
from panoptic.index import ImageRecord, PanopticIndex

_DIFFERENT = 64  # images, each under many names
_CATEGORIES = 133


@dataclass(frozen=True)
class DataSize:
    """Images in the index, segments per image, and files in the archive and in the folder."""

    images: int = 118_287
    segments: int = 11
    files: int = 120_000


@dataclass(frozen=True)
class DataFiles:
    """Paths of the files."""

    folder: Path

    @property
    def index(self) -> Path:
        return self.folder / "train.index"

    @property
    def archive(self) -> Path:
        return self.folder / "packed.zip"

    @property
    def loose(self) -> Path:
        return self.folder / "loose"


def write_files(folder: Path, size: DataSize) -> DataFiles:
    """Make all files below `folder`."""
    files = DataFiles(folder)
    contents = _images()
    names = [f"{number:012d}{contents[number % _DIFFERENT][0]}" for number in range(size.files)]
    files.loose.mkdir(parents=True)
    with zipfile.ZipFile(files.archive, "w", zipfile.ZIP_STORED) as archive:
        for number, name in enumerate(tqdm(names, desc="make", unit="file")):
            content = contents[number % _DIFFERENT][1]
            archive.writestr(zipfile.ZipInfo(name), content)
            (files.loose / name).write_bytes(content)
    records = _records(size, names)
    PanopticIndex(made_categories(80, _CATEGORIES - 80), files.archive, files.loose, records).save(files.index)
    return files


def _images() -> list[tuple[str, bytes]]:
    """Return suffix and content of smooth images of 96 x 128 pixels, every fourth a PNG, the others JPEGs."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(_DIFFERENT):
        image = cv2.GaussianBlur(rng.integers(0, 256, (96, 128, 3), np.uint8), (0, 0), 4)
        suffix = ".jpg" if number % 4 else ".png"
        found.append((suffix, cv2.imencode(suffix, image)[1].tobytes()))
    return found


def _records(size: DataSize, names: Sequence[str]) -> tuple[ImageRecord, ...]:
    shape = size.images, size.segments
    rng = np.random.default_rng(1)
    numbers = rng.integers(1, 1 << 24, shape).tolist(), rng.integers(1, _CATEGORIES + 1, shape).tolist()
    areas = rng.integers(1, 96 * 128, shape).tolist()
    return tuple(
        ImageRecord(
            image_id=4 * number + 9,
            file_name=names[number],
            mask_name=names[number],
            height=96,
            width=128,
            segments=tuple(
                Segment(name, category, False, area, (3, 5, 40, 30))
                for name, category, area in zip(numbers[0][number], numbers[1][number], areas[number], strict=True)
            ),
        )
        for number in range(size.images)
    )
