"""The panoptic index of a split: its images and their segments, already verified.

It is written as one file of columns. An index that was read makes a record when one is asked for, so that it opens at
once and worker processes share it; pickled, it is little more than its path. Paths are kept as they were given: with
relative ones, the index moves along with the working directory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from panoptic.format.categories import CategoryTable
from panoptic.index.file import map_columns, refusing_unsound, write_columns
from panoptic.index.records import ImageRecord, MappedRecords, Rows, record_columns
from panoptic.index.table import Names, NotedPlaces
from panoptic.io.errors import DatasetError
from panoptic.io.files import FileSource, open_files

__all__ = ["ImageRecord", "PanopticIndex"]


@dataclass(frozen=True)
class PanopticIndex:
    """A verified split: `images` and `masks` are folders or zip files.

    `masks_sha256`: digest of masks that are no part of the dataset, but were made along with the index, whose bytes
    then stand for them too.
    """

    categories: CategoryTable
    images: Path
    masks: Path
    records: Sequence[ImageRecord]
    masks_sha256: str | None = None

    def save(self, path: Path, masks_now: Path | None = None) -> None:
        """Write the index; equal indices give equal bytes.

        Where `images` or `masks` is a zip archive that exists, the places of its files are noted, so that readers
        need not look for them. `masks_now` is where the masks lie at present if they are to come to `masks` later.
        Raises `DatasetError` for a file that an archive does not have, and for a number that is too large.
        """
        description: dict[str, object] = {
            "images": self.images.as_posix(),
            "masks": self.masks.as_posix(),
            "masks_sha256": self.masks_sha256,
            "categories": self.categories.to_json(),
        }
        try:
            columns = record_columns(self.records)
            for name, archive in (("file_name", self.images), ("mask_name", masks_now or self.masks)):
                texts = [getattr(record, name) for record in self.records]
                places, prefix = NotedPlaces.columns(name, texts, archive)
                columns |= Names.columns(name, texts) | places
                description |= prefix
        except (OverflowError, UnicodeEncodeError) as error:
            raise DatasetError(f"{path}: an id, size or name does not fit into an index ({error}); change it") from None
        write_columns(path, description, columns)

    @classmethod
    def load(cls, path: Path) -> "PanopticIndex":
        """Open an index. Raises `DatasetError` if it is damaged, or of another format or version."""
        file = map_columns(path)
        with refusing_unsound(path):
            digest = file.description.values.get("masks_sha256")
            return cls(
                categories=CategoryTable.from_json(file.description.values.get("categories"), "header"),
                images=Path(file.description.text("images")),
                masks=Path(file.description.text("masks")),
                records=MappedRecords(Rows(file)),
                masks_sha256=None if digest is None else file.description.text("masks_sha256"),
            )

    def image_files(self) -> FileSource:
        """The images. Raises `DatasetError` if there is nothing at `images`."""
        return open_files(self.images, self._places("file_name", "images", self.images))

    def mask_files(self) -> FileSource:
        """The panoptic PNGs. Raises `DatasetError` if there is nothing at `masks`."""
        return open_files(self.masks, self._places("mask_name", "masks", self.masks))

    def _places(
        self, name: Literal["file_name", "mask_name"], source: Literal["images", "masks"], path: Path
    ) -> NotedPlaces | None:
        """Where the files lie in the archive at `path`, if that was noted."""
        file = self.records.file if isinstance(self.records, MappedRecords) else None
        noted = file is not None and f"{name}_order" in file.columns and Path(file.description.text(source)) == path
        if not noted or file is None:
            return None
        with refusing_unsound(file.path):
            return NotedPlaces(file, name)
