"""Images of own data: their size, their EXIF orientation, and how they get into the dataset."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image

from panoptic.data.decoding import decode_upright, verify_image
from panoptic.data.image_header import open_image, read_header
from panoptic.io.errors import DatasetError
from panoptic.io.files import FileSource, naming_disk_errors
from panoptic.io.folder import Folder
from panoptic.io.names import checked_name
from panoptic.io.png import MAX_PIXELS
from panoptic.tools.convert.choices import APPLY, REFUSE
from panoptic.tools.convert.finding import FileFinder

FOUND_ELSEWHERE = "images found under another name"

# Visually lossless, and with color at full resolution, which the original may have; other types are lossless anyway.
_SAVED: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
    "WEBP": {"lossless": True},
}


@dataclass(frozen=True)
class ImageFile:
    """An image by its name in the folder of the images; `content` is given if the annotation file contains it."""

    name: str
    content: bytes | None = None


@dataclass(frozen=True)
class Images:
    """The annotated images.

    `orientation` says what to do with images that have an EXIF orientation, as phones write it: annotation tools apply
    it, whereas training, as on COCO, reads the stored pixels. APPLY: the annotation belongs to the image as tools show
    it, and the image is rewritten that way. IGNORE: the annotation belongs to the stored pixels. `apart` is the folder
    of the results, in which no image is looked for; without it, results are not written among the images.
    """

    files: FileSource
    orientation: str = REFUSE
    apart: Path | None = None

    @cached_property
    def finder(self) -> FileFinder:
        """Finds images by the names that annotations give them."""
        return FileFinder(self.files, "--images", self.apart)

    def size_of(self, image_file: ImageFile, annotated: tuple[int, int] | None, where: str) -> tuple[int, int]:
        """The size (height, width) that an image will have in the dataset, which must be that `annotated` in `where`.

        Raises `DatasetError` for another size, for an image that is missing, cannot be decoded or is too large, and for
        one with an EXIF orientation if nothing was said about those.
        """
        path = self._where(image_file)
        data = self._read(image_file)
        header = read_header(io.BytesIO(data), path)
        if not 0 < header.height * header.width <= MAX_PIXELS:
            raise DatasetError(f"{path}: claims {header.height} x {header.width} pixels; expected 1 to {MAX_PIXELS}")
        if header.orientation != 1 and self.orientation == REFUSE:
            raise DatasetError(
                f"{path}: has EXIF orientation {header.orientation}, which annotation tools apply but training does"
                " not. Add --exif-orientation apply if the image was annotated upright (LabelMe, CVAT), or"
                " --exif-orientation ignore if the annotation belongs to the stored pixels"
            )
        size = header.size(upright=self.orientation == APPLY)
        if annotated is not None and annotated != size:
            sizes = f"{size[0]} x {size[1]} (height x width), but {where} says {annotated[0]} x {annotated[1]}"
            raise DatasetError(f"{path}: the size is {sizes}; use the image that was annotated, or correct the size")
        verify_image(data, path)
        return size

    def put(self, image_file: ImageFile, folder: Path) -> None:
        """Put an image into a folder under its name: as a hard link where possible, otherwise as a copy."""
        target = folder / checked_name(image_file.name, folder)
        with naming_disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if self.orientation == APPLY and self._write_upright(image_file, target):
                return
            files = self.files if image_file.content is None else None
            if not isinstance(files, Folder) or not _link(files.path_of(image_file.name).resolve(), target):
                target.write_bytes(self._read(image_file))

    def _read(self, image_file: ImageFile) -> bytes:
        return self.files.read(image_file.name) if image_file.content is None else image_file.content

    def _where(self, image_file: ImageFile) -> str:
        return f"{self.files.path}: {image_file.name}"

    def _write_upright(self, image_file: ImageFile, target: Path) -> bool:
        """Write an image as it is read, with its EXIF orientation applied; do nothing if it has none."""
        where = self._where(image_file)
        data = self._read(image_file)
        if read_header(io.BytesIO(data), where).orientation == 1:
            return False
        with open_image(io.BytesIO(data)) as image:
            # MPO: a JPEG with a thumbnail, as phones write it
            file_type = "JPEG" if image.format == "MPO" else image.format
        upright = Image.fromarray(decode_upright(data, where))
        upright.save(target, file_type, **_SAVED.get(file_type or "", {}))
        return True


@contextmanager
def refusing_unreadable(message: str) -> Iterator[None]:
    """Raise `DatasetError` with this message if PIL cannot read an image in the block."""
    try:
        yield
    except (Image.DecompressionBombError, OSError, SyntaxError):  # the last for damaged EXIF data
        raise DatasetError(message) from None


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        return False
    return True
