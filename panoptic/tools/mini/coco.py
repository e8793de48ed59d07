"""A scene in COCO's words: the bytes of its image and id map, and its entries in the panoptic and detection JSON."""

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from pycocotools import mask as rle

from panoptic.format.categories import Category
from panoptic.format.id_map import VOID, encode_id_map
from panoptic.tools.mini.arrays import Labels, Mask
from panoptic.tools.mini.categories import CATEGORIES
from panoptic.tools.mini.scene import Region, Scene

JsonFields: TypeAlias = dict[str, object]
"""A JSON object as `json.dumps` takes it."""

_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 88, cv2.IMWRITE_JPEG_OPTIMIZE, 1)


@dataclass(frozen=True)
class Entry:
    """What one scene adds to a dataset: two files, and its entries in the lists of the JSON files."""

    name: str
    jpeg: bytes
    png: bytes
    image: JsonFields
    panoptic: JsonFields
    instances: tuple[JsonFields, ...]


def describe(scene: Scene, image_id: int, rng: np.random.Generator) -> Entry:
    """Encode a scene; `rng` chooses the colors of the segments, near the ones of their categories."""
    name = f"{image_id:06d}"
    height, width = scene.image.shape[:2]
    ids: Labels = np.full((height, width), VOID, np.int32)
    segments: list[JsonFields] = []
    instances: list[JsonFields] = []
    taken = {VOID}
    for region in scene.regions:
        segment_id = _free_id(region.category, taken, rng)
        taken.add(segment_id)
        ids[region.mask] = segment_id
        common = _common(region)
        segments.append({"id": segment_id, **common})
        if region.category.is_thing:
            number = image_id * 100 + len(instances) + 1
            instances.append({"id": number, "image_id": image_id, **common, "segmentation": _run_lengths(region.mask)})
    done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR), _JPEG)
    assert done
    return Entry(
        name=name,
        jpeg=jpeg.tobytes(),
        png=encode_id_map(ids, compact=True),
        image={"id": image_id, "file_name": f"{name}.jpg", "height": height, "width": width, "license": 1},
        panoptic={"image_id": image_id, "file_name": f"{name}.png", "segments_info": segments},
        instances=tuple(instances),
    )


def header(split: str) -> JsonFields:
    """The fields `info` and `licenses` of both JSON files."""
    info = {"description": f"mini, {split} split: generated landscapes", "version": "1.0", "year": 2026}
    waiver = {"id": 1, "name": "CC0 1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}
    return {"info": info, "licenses": [waiver]}


def panoptic_json(split: str, entries: list[Entry]) -> JsonFields:
    """The whole of `panoptic_<split>.json`."""
    images, annotations = [entry.image for entry in entries], [entry.panoptic for entry in entries]
    return {**header(split), "images": images, "annotations": annotations, "categories": CATEGORIES.to_json()}


def instances_json(split: str, entries: list[Entry]) -> JsonFields:
    """The whole of `instances_<split>.json`: things only."""
    things = [{"id": thing.id, "name": thing.name, "supercategory": thing.supercategory} for thing in CATEGORIES.things]
    images, annotations = [entry.image for entry in entries], [each for entry in entries for each in entry.instances]
    return {**header(split), "images": images, "annotations": annotations, "categories": things}


def _common(region: Region) -> JsonFields:
    rows, columns = np.flatnonzero(region.mask.any(axis=1)), np.flatnonzero(region.mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return {
        "category_id": region.category.id,
        "iscrowd": int(region.is_crowd),
        "area": int(region.mask.sum()),
        "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
    }


def _free_id(category: Category, taken: set[int], rng: np.random.Generator) -> int:
    """An id whose color is near the category's, as COCO's own are; not one of `taken`."""
    while True:
        red, green, blue = (int(part) for part in np.clip(np.array(category.color) + rng.integers(-30, 31, 3), 0, 255))
        segment_id = red + 256 * green + 65536 * blue
        if segment_id not in taken:
            return segment_id


def _run_lengths(mask: Mask) -> JsonFields:
    """COCO's compressed run-length code of a mask (H, W)."""
    counts = rle.encode(np.asfortranarray(mask, np.uint8))["counts"]
    assert isinstance(counts, bytes)
    return {"size": list(mask.shape), "counts": counts.decode("ascii")}
