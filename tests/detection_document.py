"""COCO's detection format of a whole split in memory, to compare with what annotate writes shard by shard."""

from io import BytesIO

from panoptic.data.reader import PanopticReader
from panoptic.index import PanopticIndex
from panoptic.instances.detection_json import segment_rles, write_detection_format


def to_detection_format(index: PanopticIndex) -> bytes:
    """Convert a split to JSON with `images`, `annotations` and `categories`; equal indices give equal bytes."""
    reader = PanopticReader(index)
    rles = (
        segment_rles(reader.id_map(record), [segment.id for segment in record.segments]) for record in index.records
    )
    file = BytesIO()
    write_detection_format(file, index.records, rles, index.categories)
    return file.getvalue()
