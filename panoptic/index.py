"""The panoptic index of a split: one JSON file of its pictures and their segments, already verified.

Paths are kept as they were given: with relative ones, the index moves along with the working directory.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from panoptic.categories import CategoryTable
from panoptic.errors import DatasetError
from panoptic.files import write_atomically
from panoptic.json_fields import JsonObject, read_json
from panoptic.segments import Segment

FORMAT = "panoptic-index"
VERSION = 1


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One picture: its names below the image and mask sources, its size in pixels, its segments."""

    image_id: int
    file_name: str
    mask_name: str
    height: int
    width: int
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class PanopticIndex:
    """A verified split: `images` and `masks` are folders or zip files."""

    categories: CategoryTable
    images: Path
    masks: Path
    records: tuple[ImageRecord, ...]

    def save(self, path: Path) -> None:
        """Write the index; equal indices give equal bytes."""
        header = {
            "format": FORMAT,
            "version": VERSION,
            "images": self.images.as_posix(),
            "masks": self.masks.as_posix(),
            "categories": self.categories.to_json(),
            "segment_columns": ["id", "category_id", "is_crowd", "area", "x", "y", "width", "height"],
        }
        # One record a line: a person can read it, and line tools can count and compare.
        lines = ",\n".join(json.dumps(_record_to_json(record)) for record in self.records)
        text = json.dumps(header, indent=1).removesuffix("\n}") + f',\n "records": [\n{lines}\n]}}\n'
        write_atomically(path, text.encode())

    @classmethod
    def load(cls, path: Path) -> "PanopticIndex":
        """Read an index. Raises `DatasetError` for another format or version."""
        document = read_json(path)
        found = document.values.get("format"), document.values.get("version")
        if found != (FORMAT, VERSION):
            raise DatasetError(f"{path}: not a panoptic index, version {VERSION}; make it with stages.annotate")
        return cls(
            categories=CategoryTable.from_json(document.values.get("categories"), str(path)),
            images=Path(document.text("images")),
            masks=Path(document.text("masks")),
            records=tuple(_record_from_json(record) for record in document.objects("records")),
        )


def _record_to_json(record: ImageRecord) -> dict[str, object]:
    return {
        "image_id": record.image_id,
        "file_name": record.file_name,
        "mask_name": record.mask_name,
        "height": record.height,
        "width": record.width,
        "segments": [
            [segment.id, segment.category_id, int(segment.is_crowd), segment.area, *segment.box_xywh]
            for segment in record.segments
        ],
    }


def _record_from_json(record: JsonObject) -> ImageRecord:
    rows = record.values.get("segments")
    if not isinstance(rows, list):
        raise DatasetError(f"{record.where}: 'segments' should be a list; run stages.annotate again")
    try:
        segments = tuple(
            Segment(segment_id, category_id, bool(crowd), area, (x, y, w, h))
            for segment_id, category_id, crowd, area, x, y, w, h in rows
        )
    except (TypeError, ValueError):
        raise DatasetError(f"{record.where}: malformed segment; run stages.annotate again") from None
    return ImageRecord(
        image_id=record.integer("image_id"),
        file_name=record.text("file_name"),
        mask_name=record.text("mask_name"),
        height=record.integer("height"),
        width=record.integer("width"),
        segments=segments,
    )
