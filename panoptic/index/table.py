"""The columns of an index file for image ids, names and entries of zip archives, and the lookup of an entry by name.

A file name is looked up by its checksum. Checksums are stored in ascending order, so that no process needs to build a
table of names.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path

import deflate
import numpy as np
from numpy.typing import NDArray

from panoptic.format.image_id import ImageId, two_types
from panoptic.index.file import ColumnFile
from panoptic.io.errors import DatasetError
from panoptic.io.files import folder_or_archive, open_files
from panoptic.io.zip_archive import ZipArchive
from panoptic.io.zip_entries import ZipEntry

_IMAGE_ID = "image_id"
_FIELDS = ("offset", "packed", "size", "crc", "method")


class Names:
    """A column of texts: their bytes in UTF-8, and the start of each."""

    def __init__(self, file: ColumnFile, name: str, rows: int) -> None:
        """Raises `ValueError` where the columns do not fit together."""
        self._starts = file.starts(f"{name}_starts", rows)
        self._bytes = file.column(name, np.uint8, int(self._starts[-1]))

    @staticmethod
    def columns(name: str, texts: Sequence[str]) -> dict[str, NDArray[np.generic]]:
        """The columns that hold `texts`."""
        encoded = [text.encode() for text in texts]
        starts = np.fromiter(accumulate(map(len, encoded), initial=0), np.int64, len(encoded) + 1)
        return {name: np.frombuffer(b"".join(encoded), np.uint8), f"{name}_starts": starts}

    def texts(self, start: int, stop: int) -> list[str]:
        """The texts of rows `start` to `stop`. Raises `ValueError` if one is not UTF-8."""
        starts = self._starts[start : stop + 1].tolist()
        data = self._bytes[starts[0] : starts[-1]].tobytes()
        return [data[one - starts[0] : after - starts[0]].decode() for one, after in pairwise(starts)]

    def encoded(self, row: int) -> bytes:
        """The text of one row in UTF-8."""
        start, stop = self._starts[row : row + 2].tolist()
        return self._bytes[start:stop].tobytes()


class ImageIds:
    """The column of image ids: numbers, or texts in a dataset whose ids are texts."""

    def __init__(self, file: ColumnFile, rows: int) -> None:
        """Raises `ValueError` where the columns do not fit together."""
        is_text = f"{_IMAGE_ID}_starts" in file.columns
        self._texts = Names(file, _IMAGE_ID, rows) if is_text else None
        self._numbers = np.empty(0, np.int64) if is_text else file.column(_IMAGE_ID, np.int64, rows)

    @staticmethod
    def columns(image_ids: Sequence[ImageId]) -> dict[str, NDArray[np.generic]]:
        """The columns that hold `image_ids`. Raises `DatasetError` for ids of two types."""
        if mixture := two_types(image_ids):
            raise DatasetError(f"image ids are of two types, {mixture}; write all of them as integers, or all as text")
        texts = [image_id for image_id in image_ids if isinstance(image_id, str)]
        return Names.columns(_IMAGE_ID, texts) if texts else {_IMAGE_ID: np.array(image_ids, np.int64)}

    def read(self, start: int, stop: int) -> Sequence[ImageId]:
        """The ids of rows `start` to `stop`. Raises `ValueError` if one is not UTF-8."""
        return self._numbers[start:stop].tolist() if self._texts is None else self._texts.texts(start, stop)


class RecordedEntries:
    """The archive entries of the files in one column of names, as they were when the index was written."""

    def __init__(self, file: ColumnFile, name: str) -> None:
        """Raises `ValueError` where the columns do not fit together."""
        self._file, self._name = file, name
        rows = len(file.columns.get(f"{name}_order", ()))
        self._names = Names(file, name, rows)
        self._entries = file.column(f"{name}_entries", np.int64, rows, len(_FIELDS))
        self._order = file.column(f"{name}_order", np.int32, rows)
        self._checksums = file.column(f"{name}_checksums", np.uint32, rows)
        self._prefix = file.description.text(f"{name}_prefix")
        if rows and not 0 <= self._order.min() <= self._order.max() < rows:
            raise ValueError(f"column '{name}_order' is out of order")

    def find(self, name: str) -> ZipEntry | None:
        """The entry of the file `name`, or None if there is none."""
        encoded = name.encode(errors="surrogatepass")  # which no name in the file has
        checksum = np.uint32(deflate.crc32(encoded))
        first = int(self._checksums.searchsorted(checksum))
        for row in self._order[first : int(self._checksums.searchsorted(checksum, "right"))].tolist():
            if self._names.encoded(row) == encoded:
                return ZipEntry(self._prefix + name, *self._entries[row].tolist())
        return None

    def __reduce__(self) -> tuple[object, ...]:
        return RecordedEntries, (self._file, self._name)

    @staticmethod
    def columns(name: str, texts: Sequence[str], path: Path) -> tuple[dict[str, NDArray[np.generic]], dict[str, str]]:
        """Build the columns, and their part of the description; both are empty unless `path` is an existing archive.

        Raises `DatasetError` for a name that is missing in the archive.
        """
        files = open_files(path) if folder_or_archive(path).is_file() else None
        if not isinstance(files, ZipArchive):
            return {}, {}
        entries = [files.entry(text) for text in texts]
        rows = np.array([[getattr(entry, field) for field in _FIELDS] for entry in entries], np.int64)
        checksums = np.array([deflate.crc32(text.encode()) for text in texts], np.uint32)
        order = checksums.argsort(kind="stable").astype(np.int32)
        columns: dict[str, NDArray[np.generic]] = {
            f"{name}_entries": rows.reshape(-1, len(_FIELDS)),
            f"{name}_order": order,
            f"{name}_checksums": checksums[order],
        }
        return columns, {f"{name}_prefix": files.prefix}
