"""Encode a scene as COCO does: image and id map as files, entries for the panoptic and the detection JSON."""

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from panoptic.format.categories import Category
from panoptic.format.id_map import VOID, encode_id_map
from panoptic.format.segments import Segment, measure_segments
from panoptic.instances.detection_json import encode_mask
from panoptic.tools.mini.arrays import Labels
from panoptic.tools.mini.categories import CATEGORIES
from panoptic.tools.mini.scene import Region, Scene

JsonFields: TypeAlias = dict[str, object]
"""A JSON object for `json.dumps`."""

_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 88, cv2.IMWRITE_JPEG_OPTIMIZE, 1)


@dataclass(frozen=True)
class Entry:
    """The contribution of one scene to a dataset: two files and the entries for the JSON files."""

    name: str
    jpeg: bytes
    png: bytes
    image: JsonFields
    panoptic: JsonFields
    instances: tuple[JsonFields, ...]


def describe(scene: Scene, image_id: int, rng: np.random.Generator) -> Entry:
    """Encode a scene; `rng` picks segment ids whose colors are close to those of their categories."""
    name = f"{image_id:06d}"
    height, width = scene.image.shape[:2]
    ids: Labels = np.full((height, width), VOID, np.int32)
    regions: dict[int, Region] = {}
    for region in scene.regions:
        segment_id = _free_id(region.category, {VOID, *regions}, rng)
        regions[segment_id] = region
        ids[region.mask] = segment_id
    segments: list[JsonFields] = []
    instances: list[JsonFields] = []
    extents = measure_segments(ids)
    for segment_id, region in regions.items():
        extent = extents[segment_id]
        segment = Segment(segment_id, region.category.id, region.is_crowd, extent.area, extent.box_xywh).to_json()
        segments.append(segment)
        if region.category.is_thing:
            # Twice, so that both the ids and the order of the keys are COCO's.
            own = {"id": image_id * 100 + len(instances) + 1, "image_id": image_id}
            instances.append({**own, **segment, **own, "segmentation": encode_mask(region.mask)})
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
    """Build the fields `info` and `licenses`, common to both JSON files."""
    info = {"description": f"mini, {split} split: generated landscapes", "version": "1.0", "year": 2026}
    waiver = {"id": 1, "name": "CC0 1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}
    return {"info": info, "licenses": [waiver]}


def panoptic_json(split: str, entries: list[Entry]) -> JsonFields:
    """Build the content of `panoptic_<split>.json`."""
    images, annotations = [entry.image for entry in entries], [entry.panoptic for entry in entries]
    return {**header(split), "images": images, "annotations": annotations, "categories": CATEGORIES.to_json()}


def instances_json(split: str, entries: list[Entry]) -> JsonFields:
    """Build the content of `instances_<split>.json`, which lists things only."""
    things = [{"id": thing.id, "name": thing.name, "supercategory": thing.supercategory} for thing in CATEGORIES.things]
    images, annotations = [entry.image for entry in entries], [each for entry in entries for each in entry.instances]
    return {**header(split), "images": images, "annotations": annotations, "categories": things}


def _free_id(category: Category, taken: set[int], rng: np.random.Generator) -> int:
    """Draw an id outside `taken` whose color is close to the category's, as COCO's own ids are."""
    while True:
        near = np.clip(np.array(category.color) + rng.integers(-30, 31, 3), 0, 255)
        red, green, blue = (int(channel) for channel in near)
        segment_id = red + 256 * green + 65536 * blue
        if segment_id not in taken:
            return segment_id
