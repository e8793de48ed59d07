"""The panoptic index of a split: its images and their segments, already verified.

It is stored as one file of columns. A loaded index creates each record on access, so that it opens at once and worker
processes share its memory; pickled, it is little more than its path. Paths are kept as given: with relative paths, the
index moves along with the working directory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from panoptic.format.categories import CategoryTable
from panoptic.index.file import map_columns, refusing_unsound, write_columns
from panoptic.index.records import ImageRecord, MappedRecords, Rows, record_columns
from panoptic.index.table import Names, RecordedEntries
from panoptic.io.errors import DatasetError
from panoptic.io.files import FileSource, open_files

__all__ = ["ImageRecord", "PanopticIndex"]


@dataclass(frozen=True)
class PanopticIndex:
    """A verified split: `images` and `masks` are folders or zip files.

    `upright` says whether the images are turned as their EXIF orientation says, which is so for photos without
    annotations; annotations belong to the pixels as they are stored (`panoptic.data.image_header` has the rule).
    `masks_sha256` is the digest of masks that are not part of the dataset but were made along with the index; it makes
    the bytes of the index depend on them.
    """

    categories: CategoryTable
    images: Path
    masks: Path
    records: Sequence[ImageRecord]
    masks_sha256: str | None = None
    upright: bool = False

    def save(self, path: Path, masks_now: Path | None = None) -> None:
        """Write the index; equal indices give equal bytes.

        If `images` or `masks` is an existing zip archive, the entries of its files are recorded, so that readers need
        not search for them. `masks_now` is the current path of masks that will be moved to `masks` later.
        Raises `DatasetError` for a file that is missing in an archive, and for a number that is too large.
        """
        description: dict[str, object] = {
            "images": self.images.as_posix(),
            "masks": self.masks.as_posix(),
            "masks_sha256": self.masks_sha256,
            "categories": self.categories.to_json(),
        } | ({"upright": True} if self.upright else {})
        try:
            columns = record_columns(self.records)
            for name, archive in (("file_name", self.images), ("mask_name", masks_now or self.masks)):
                texts = [getattr(record, name) for record in self.records]
                entries, prefix = RecordedEntries.columns(name, texts, archive)
                columns |= Names.columns(name, texts) | entries
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
                upright=file.description.values.get("upright") is True,
            )

    def image_files(self) -> FileSource:
        """The images. Raises `DatasetError` if there is nothing at `images`."""
        return open_files(self.images, self._entries("file_name", "images", self.images))

    def mask_files(self) -> FileSource:
        """The panoptic PNGs. Raises `DatasetError` if there is nothing at `masks`."""
        return open_files(self.masks, self._entries("mask_name", "masks", self.masks))

    def _entries(
        self, name: Literal["file_name", "mask_name"], source: Literal["images", "masks"], path: Path
    ) -> RecordedEntries | None:
        """The recorded entries of the archive at `path`, if there are any."""
        file = self.records.file if isinstance(self.records, MappedRecords) else None
        noted = file is not None and f"{name}_order" in file.columns and Path(file.description.text(source)) == path
        if not noted or file is None:
            return None
        with refusing_unsound(file.path):
            return RecordedEntries(file, name)
