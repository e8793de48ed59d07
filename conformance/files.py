"""A case as files in COCO's panoptic format, written with the standard library alone."""

import json
import struct
import zlib
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from conformance.case import Case, Grid, Segment, Side


@dataclass(frozen=True)
class Files:
    """The files of a case; each JSON lies beside the folder of its PNGs, which has its name without `.json`."""

    gt_json: Path
    gt_folder: Path
    prediction_json: Path
    prediction_folder: Path


def write_files(case: Case, folder: Path) -> Files:
    """Write a case to an empty folder."""
    files = Files(folder / "gt.json", folder / "gt", folder / "prediction.json", folder / "prediction")
    categories = [
        {"id": c.id, "name": c.name, "supercategory": "", "isthing": int(c.is_thing), "color": [0, 0, 0]}
        for c in case.categories
    ]
    images: list[dict[str, object]] = []
    annotations: tuple[list[object], list[object]] = [], []
    for masks in (files.gt_folder, files.prediction_folder):
        masks.mkdir(parents=True)
    for number, image in enumerate(case.images):
        name = f"{number:04d}"
        height, width = image.ground_truth.size
        images.append({"id": image.id, "file_name": f"{name}.jpg", "height": height, "width": width})
        sides = (image.ground_truth, image.prediction)
        for side, masks, listed in zip(sides, (files.gt_folder, files.prediction_folder), annotations, strict=True):
            if side is not None:
                (masks / f"{name}.png").write_bytes(encode_png(side.ids))
                entry = {"image_id": image.id, "file_name": f"{name}.png", "segments_info": segments_info(side)}
                listed.append(entry)
    document = {"images": images, "annotations": annotations[0], "categories": categories}
    files.gt_json.write_text(json.dumps(document))
    files.prediction_json.write_text(json.dumps({"annotations": annotations[1]}))
    return files


def segments_info(side: Side) -> list[dict[str, object]]:
    """The list of a JSON; segments of a prediction have an id and a category only."""
    return [_segment_info(segment) for segment in side.segments]


def _segment_info(segment: Segment) -> dict[str, object]:
    info: dict[str, object] = {"id": segment.id, "category_id": segment.category_id}
    if segment.area is None:
        return info
    return info | {"iscrowd": int(segment.is_crowd), "area": segment.area, "bbox": [0, 0, 1, 1]}


def encode_png(ids: Grid) -> bytes:
    """Encode an id map as an RGB PNG: id = R + 256 G + 65536 B."""
    rows = (b"\0" + bytes(chain.from_iterable(segment_id.to_bytes(3, "little") for segment_id in row)) for row in ids)
    header = struct.pack(">IIBBBBB", len(ids[0]), len(ids), 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    encoded = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(encoded)
