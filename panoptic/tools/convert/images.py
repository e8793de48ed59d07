"""The images of own data: their sizes, whether they are to be shown turned, and how they get into the dataset."""

import os
import shutil
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from PIL import Image, ImageOps, UnidentifiedImageError

from panoptic.io.errors import DatasetError
from panoptic.io.files import FileSource, Folder, checked_name, naming_disk_errors
from panoptic.io.png import MAX_PIXELS

REFUSE, UPRIGHT, STORED = "refuse", "upright", "stored"
TURNED = (REFUSE, UPRIGHT, STORED)
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

_ORIENTATION = 0x0112  # the tag in a file's EXIF
# A damaged note ends in a SyntaxError.
_UNREADABLE = (
    *(UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error),
)


@dataclass(frozen=True)
class Images:
    """The images that were annotated.

    `turned` says what to do with those that hold a note to be shown turned (EXIF), as phones write them: annotation
    tools heed it, and what trains on COCO reads the pixels as they are stored. UPRIGHT: the annotation belongs to what
    tools show; the image is written anew that way. STORED: it belongs to the stored pixels.
    """

    files: FileSource
    turned: str = REFUSE

    def size(self, name: str) -> tuple[int, int]:
        """(height, width) of an image as it will be in the dataset, from its header.

        Raises `DatasetError` for one that is missing, cannot be read, is too large, or that is to be shown turned
        while nothing was said of such.
        """
        where = self.where(name)
        try:
            with self.files.open(name) as file, Image.open(file) as image:
                width, height = image.size
                orientation = _orientation(image)
        except _UNREADABLE:
            raise DatasetError(f"{where}: not an image that can be read; replace the file") from None
        if not 0 < width * height <= MAX_PIXELS:
            raise DatasetError(f"{where}: claims {height} x {width} pixels; 1 to {MAX_PIXELS} are read")
        if orientation == 1 or self.turned == STORED:
            return height, width
        if self.turned == REFUSE:
            raise DatasetError(
                f"{where}: holds a note (EXIF orientation {orientation}) to be shown turned. Annotation tools heed it,"
                " training does not: give --turned upright if it was annotated as it is shown (LabelMe, CVAT), or"
                " --turned stored if the annotation belongs to the stored pixels"
            )
        return (width, height) if orientation >= 5 else (height, width)

    def put(self, name: str, folder: Path) -> None:
        """Put an image into a folder, under its name: as a hard link where that is possible, else as a copy."""
        target = folder / checked_name(name, folder)
        with naming_disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if self.turned == UPRIGHT and self._write_upright(name, target):
                return
            if not isinstance(self.files, Folder) or not _link((self.files.path / name).resolve(), target):
                with self.files.open(name) as source, target.open("wb") as copy:
                    shutil.copyfileobj(source, copy)

    def where(self, name: str) -> str:
        """The image in messages."""
        return f"{self.files.path}: {name}"

    def _write_upright(self, name: str, target: Path) -> bool:
        """Write an image with its pixels turned, and without its notes; do nothing if it is not to be turned."""
        with self.files.open(name) as file:
            image = _decoded(file, self.where(name))
            if _orientation(image) == 1:
                return False
            if image.format in ("JPEG", "MPO"):  # MPO: a JPEG with a thumbnail, as phones write it
                # Hardly to be told from the original, and with colors as fine as they may be there.
                ImageOps.exif_transpose(image).save(target, "JPEG", quality=95, subsampling=0)
            else:
                ImageOps.exif_transpose(image).save(target, image.format)
        return True


def _orientation(image: Image.Image) -> int:
    """How an image is to be shown: 1 as it is stored, 2 to 8 mirrored or turned, from 5 on by a quarter."""
    # PIL decodes a whole PNG to look for a note behind its pixels.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    orientation = image.getexif().get(_ORIENTATION, 1)
    return orientation if orientation in range(2, 9) else 1


def _decoded(file: IO[bytes], where: str) -> Image.Image:
    try:
        image = Image.open(file)
        image.load()
    except _UNREADABLE:
        raise DatasetError(f"{where}: the image cannot be decoded (cut short or damaged); replace the file") from None
    return image


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one that knows no links
        return False
    return True
