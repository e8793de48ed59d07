"""The records of an index, one for each image: in memory, or created from the columns of a file on access."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from typing import overload

import numpy as np
from numpy.typing import NDArray

from panoptic.format.image_id import ImageId
from panoptic.format.segments import Segment
from panoptic.index.file import ColumnFile, refusing_unsound
from panoptic.index.table import ImageIds, Names

_CHUNK = 256  # records that are created at a time by iteration


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image: its names relative to the image and mask sources, its size in pixels, its segments."""

    image_id: ImageId
    file_name: str
    mask_name: str
    height: int
    width: int
    segments: tuple[Segment, ...]


class MappedRecords(Sequence[ImageRecord]):
    """All or some records of an index file, each created on access."""

    def __init__(self, rows: "Rows", chosen: Sequence[int] | None = None) -> None:
        """The records of the rows `chosen`, or of all rows."""
        self._rows = rows
        self._chosen = range(rows.count) if chosen is None else chosen

    @property
    def file(self) -> ColumnFile:
        return self._rows.file

    def __len__(self) -> int:
        return len(self._chosen)

    @overload
    def __getitem__(self, position: int) -> ImageRecord: ...

    @overload
    def __getitem__(self, position: slice) -> "MappedRecords": ...

    def __getitem__(self, position: int | slice) -> "ImageRecord | MappedRecords":
        if isinstance(position, slice):
            return MappedRecords(self._rows, self._chosen[position])
        row = self._chosen[position]
        return self._rows.made(row, row + 1)[0]

    def __iter__(self) -> Iterator[ImageRecord]:
        chosen = self._chosen
        if isinstance(chosen, range) and chosen.step == 1:
            for start in range(chosen.start, chosen.stop, _CHUNK):
                yield from self._rows.made(start, min(start + _CHUNK, chosen.stop))
        else:
            for row in chosen:
                yield from self._rows.made(row, row + 1)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(one == another for one, another in zip(self, other, strict=True))

    def image_ids(self) -> list[ImageId]:
        """The image id of every record."""
        with refusing_unsound(self.file.path):
            image_ids = self._rows.image_ids.read(0, self._rows.count)
        return [image_ids[row] for row in self._chosen]

    def sizes(self) -> NDArray[np.int32]:
        """Height and width of every record, (N,2)."""
        return self._rows.size[self._numbers()]

    def segment_counts(self, category_ids: Sequence[int]) -> NDArray[np.int64]:
        """Count every record's segments of some categories, without crowds, (N,)."""
        return self._rows.segment_counts(category_ids)[self._numbers()]

    def take(self, positions: Sequence[int]) -> "MappedRecords":
        """The records at some positions, not created yet."""
        return MappedRecords(self._rows, [self._chosen[position] for position in positions])

    def _numbers(self) -> NDArray[np.int64]:
        chosen = self._chosen
        if isinstance(chosen, range):
            return np.arange(chosen.start, chosen.stop, chosen.step)
        return np.array(chosen, np.int64)


def take(records: Sequence[ImageRecord], positions: Sequence[int]) -> Sequence[ImageRecord]:
    """Return the records at some positions; mapped records are still created on access."""
    if isinstance(records, MappedRecords):
        return records.take(positions)
    return [records[position] for position in positions]


def all_image_ids(records: Sequence[ImageRecord]) -> list[ImageId]:
    """Return the image id of every record without creating mapped records."""
    if isinstance(records, MappedRecords):
        return records.image_ids()
    return [record.image_id for record in records]


def image_sizes(records: Sequence[ImageRecord]) -> NDArray[np.int32]:
    """Return height and width of every record, (N,2), without creating mapped records."""
    if isinstance(records, MappedRecords):
        return records.sizes()
    numbers = chain.from_iterable((record.height, record.width) for record in records)
    return np.fromiter(numbers, np.int32, 2 * len(records)).reshape(-1, 2)


def segment_counts(records: Sequence[ImageRecord], category_ids: Sequence[int]) -> NDArray[np.int64]:
    """Count each record's segments of some categories without crowds, (N,), without creating mapped records."""
    if isinstance(records, MappedRecords):
        return records.segment_counts(category_ids)
    wanted = frozenset(category_ids)
    counts = (
        sum(not segment.is_crowd and segment.category_id in wanted for segment in record.segments) for record in records
    )
    return np.fromiter(counts, np.int64, len(records))


class Rows:
    """The columns of an index file, checked to fit together."""

    def __init__(self, file: ColumnFile) -> None:
        """Raises `ValueError` if the columns do not fit together."""
        self.file = file
        self.count = count = len(file.columns.get("size", ()))
        self.image_ids = ImageIds(file, count)
        self.size = file.column("size", np.int32, count, 2)
        self._file_names, self._mask_names = Names(file, "file_name", count), Names(file, "mask_name", count)
        self._starts = file.starts("segment_starts", count)
        segments = int(self._starts[-1])
        self._id = file.column("segment_id", np.int32, segments)
        self._category_id = file.column("segment_category_id", np.int64, segments)
        self._is_crowd = file.column("segment_is_crowd", np.bool_, segments)
        self._area = file.column("segment_area", np.int32, segments)
        self._box = file.column("segment_box", np.int32, segments, 4)

    def segment_counts(self, category_ids: Sequence[int]) -> NDArray[np.int64]:
        """Count the segments of some categories in every row, without crowds, (N,)."""
        wanted = ~self._is_crowd & np.isin(self._category_id, category_ids)
        return np.diff(np.concatenate(([0], np.cumsum(wanted)))[self._starts])

    def made(self, start: int, stop: int) -> list[ImageRecord]:
        """Create the records of rows `start` to `stop`. Raises `DatasetError` for a name that is not UTF-8."""
        starts = self._starts[start : stop + 1].tolist()
        first, last = starts[0], starts[-1]
        columns = zip(
            self._id[first:last].tolist(),
            self._category_id[first:last].tolist(),
            self._is_crowd[first:last].tolist(),
            self._area[first:last].tolist(),
            self._box[first:last].tolist(),
            strict=True,
        )
        segments = tuple(
            Segment(key, category, crowd, area, (x, y, w, h)) for key, category, crowd, area, (x, y, w, h) in columns
        )
        with refusing_unsound(self.file.path):
            image_ids = self.image_ids.read(start, stop)
            file_names, mask_names = self._file_names.texts(start, stop), self._mask_names.texts(start, stop)
        rows = zip(image_ids, file_names, mask_names, self.size[start:stop].tolist(), pairwise(starts), strict=True)
        return [
            ImageRecord(image_id, file_name, mask_name, height, width, segments[begin - first : end - first])
            for image_id, file_name, mask_name, (height, width), (begin, end) in rows
        ]

    def __reduce__(self) -> tuple[object, ...]:
        return Rows, (self.file,)


def record_columns(records: Sequence[ImageRecord]) -> dict[str, NDArray[np.generic]]:
    """Build all columns except the names.

    Raises `OverflowError` for a number that does not fit its column, `DatasetError` for image ids of two types.
    """
    counts = [len(record.segments) for record in records]
    segments = [segment for record in records for segment in record.segments]
    boxes = chain.from_iterable(segment.box_xywh for segment in segments)
    return {
        **ImageIds.columns(all_image_ids(records)),
        "size": image_sizes(records),
        "segment_starts": np.fromiter(accumulate(counts, initial=0), np.int64, len(counts) + 1),
        "segment_id": np.fromiter((segment.id for segment in segments), np.int32, len(segments)),
        "segment_category_id": np.fromiter((segment.category_id for segment in segments), np.int64, len(segments)),
        "segment_is_crowd": np.fromiter((segment.is_crowd for segment in segments), np.bool_, len(segments)),
        "segment_area": np.fromiter((segment.area for segment in segments), np.int32, len(segments)),
        "segment_box": np.fromiter(boxes, np.int32, 4 * len(segments)).reshape(-1, 4),
    }
