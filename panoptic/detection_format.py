"""From a panoptic split to COCO's detection format: each segment as a run-length encoded mask with its box.

Segments keep their order; annotation ids count from 0 over the whole split, as in COCO's own conversion.
"""

import json

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from tqdm import tqdm

from panoptic.index import ImageRecord, PanopticIndex
from panoptic.reader import PanopticReader


def to_detection_format(index: PanopticIndex, progress: bool = False) -> bytes:
    """The JSON, with `images`, `annotations` and `categories`; equal indices give equal bytes."""
    reader = PanopticReader(index)
    annotations: list[dict[str, object]] = []
    for record in tqdm(index.records, desc="instances", unit="picture", disable=not progress):
        annotations += _annotations(reader, record, len(annotations))
    images = [
        {"id": record.image_id, "file_name": record.file_name, "height": record.height, "width": record.width}
        for record in index.records
    ]
    document = {"images": images, "annotations": annotations, "categories": index.categories.to_json()}
    return (json.dumps(document) + "\n").encode()


def _annotations(reader: PanopticReader, record: ImageRecord, first_id: int) -> list[dict[str, object]]:
    ids = reader.id_map(record)
    return [
        {
            "id": first_id + position,
            "image_id": record.image_id,
            "category_id": segment.category_id,
            "iscrowd": int(segment.is_crowd),
            "area": segment.area,
            "bbox": list(segment.box_xywh),
            "segmentation": encode_mask(ids == segment.id),
        }
        for position, segment in enumerate(record.segments)
    ]


def encode_mask(mask: NDArray[np.bool_]) -> dict[str, object]:
    """An (H,W) mask as COCO's compressed run-length code, in a form that JSON can hold."""
    code = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": _text(code["counts"])}


def _text(counts: str | bytes) -> str:
    return counts if isinstance(counts, str) else counts.decode()
