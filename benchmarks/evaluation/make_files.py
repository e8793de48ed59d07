"""Write the files that the evaluation benchmark works on.

Ground-truth PNGs are written by Pillow, as COCO's were; predicted ones as this project writes them.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, groupby, islice
from operator import itemgetter
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.evaluation.workload import Workload
from benchmarks.harness.synthetic import made_categories
from panoptic.evaluation.dataset import PanopticFiles
from panoptic.format.annotations import read_annotations
from panoptic.format.categories import Category, CategoryTable
from panoptic.format.id_map import MAX_ID, VOID, decode_id_map, encode_id_map, ids_to_rgb
from panoptic.format.segments import SegmentLabel, measure_segments
from panoptic.instances.detection_json import encode_mask
from panoptic.io.files import open_files

HEIGHT, WIDTH = 480, 640
_CLASSES = 10  # of things, and as many of stuff
_REGIONS, _THINGS = 6, 10  # per image, before they occlude each other
_WITH_CROWD = 0.3  # fraction of the images
_DROPPED, _CONFUSED = 0.12, 0.1  # fractions of the segments of a prediction


@dataclass(frozen=True)
class LabeledMap:
    """An (H, W) id map and the segments of its ids; void has none."""

    ids: NDArray[np.int32]
    segments: tuple[SegmentLabel, ...]


def drawn_categories() -> CategoryTable:
    """Return the classes of drawn maps."""
    return made_categories(_CLASSES, _CLASSES)


def draw_map(rng: np.random.Generator) -> LabeledMap:
    """Draw stuff as a Voronoi diagram, things as ellipses before it, and some void, all with wiggly outlines."""
    shape = (HEIGHT, WIDTH)
    y, x = (along + _wiggles(rng, shape, 15, 60) + _wiggles(rng, shape, 2, 8) for along in np.indices(shape))
    points = rng.uniform((0, 0), shape, (_REGIONS, 2))
    labels = np.argmin([(y - top) ** 2 + (x - left) ** 2 for top, left in points], axis=0) + 1
    for label in (*range(_REGIONS + 1, _REGIONS + _THINGS + 1), VOID, VOID):
        top, left = rng.uniform((0, 0), shape)
        height, width = rng.uniform(12, 90, 2)
        labels[((y - top) / height) ** 2 + ((x - left) / width) ** 2 < 1] = label
    ids = np.append(VOID, 1 + rng.choice(MAX_ID, _REGIONS + _THINGS, replace=False)).astype(np.int32)
    stuff = 1 + _CLASSES + rng.choice(_CLASSES, _REGIONS, replace=False)
    category_ids = [VOID, *stuff.tolist(), *rng.integers(1, _CLASSES + 1, _THINGS).tolist()]
    crowd = _REGIONS + 1 if rng.random() < _WITH_CROWD else VOID
    seen = [label for label in np.unique(labels).tolist() if label != VOID]
    return LabeledMap(
        ids[labels], tuple(SegmentLabel(int(ids[label]), category_ids[label], label == crowd) for label in seen)
    )


def distort_map(ground_truth: LabeledMap, table: CategoryTable, rng: np.random.Generator) -> LabeledMap:
    """Make a prediction: outlines bent, some segments missing, some of another class; without crowds."""
    sampled = (along + _wiggles(rng, ground_truth.ids.shape, 2.5, 25) for along in np.indices(ground_truth.ids.shape))
    rows, columns = (
        np.clip(np.rint(position), 0, size - 1).astype(np.intp)
        for position, size in zip(sampled, ground_truth.ids.shape, strict=True)
    )
    bent = ground_truth.ids[rows, columns]
    ids = np.zeros_like(bent)
    names = 1 + rng.choice(MAX_ID, len(ground_truth.segments), replace=False)
    segments = []
    for name, segment in zip(names.tolist(), ground_truth.segments, strict=True):
        inside = bent == segment.id
        if segment.is_crowd or not inside.any() or rng.random() < _DROPPED:
            continue
        ids[inside] = name
        confused = rng.random() < _CONFUSED
        category_id = _similar_class(segment, table, rng) if confused else segment.category_id
        segments.append(SegmentLabel(name, category_id, False))
    return LabeledMap(ids, tuple(segments))


def paint(ids: NDArray[np.int32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Paint an image (H, W, 3): each segment in one color, with shading and noise."""
    shades = _wiggles(rng, ids.shape, 30, 40) + rng.normal(0, 6, ids.shape)
    return np.clip(ids_to_rgb(ids) + shades[..., None], 0, 255).astype(np.uint8)


def _similar_class(segment: SegmentLabel, table: CategoryTable, rng: np.random.Generator) -> int:
    """Draw another thing class for a thing, another stuff class for stuff."""
    similar: Sequence[Category] = table.things if table.by_id(segment.category_id).is_thing else table.stuff
    return similar[int(rng.integers(len(similar)))].id


def _wiggles(rng: np.random.Generator, shape: tuple[int, ...], strength: float, grain: int) -> NDArray[np.float32]:
    """Draw a smooth random field (H, W) with standard deviation `strength` and a value every `grain` pixels."""
    height, width = shape
    coarse = rng.standard_normal((height // grain + 3, width // grain + 3), np.float32) * strength
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


JsonFields = dict[str, object]


def write_workload(folder: Path, images: int, painted: int, seed: int, given: PanopticFiles | None) -> Workload:
    """Draw id maps, or take the first ones of a dataset; make predictions for all, and paint the first `painted`."""
    workload = Workload(folder)
    for below in (workload.ground_truth.masks, workload.prediction.masks, workload.images):
        below.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    table, maps = _drawn(workload, images, rng) if given is None else _taken(workload, images, given)
    predictions = [distort_map(gt, table, rng) for gt in maps]
    for number, predicted in enumerate(predictions):
        (workload.prediction.masks / _name(number)).write_bytes(encode_id_map(predicted.ids))
    for number, gt in enumerate(maps[:painted]):
        Image.fromarray(paint(gt.ids, rng)).save(workload.images / _name(number))
    _write_panoptic(workload.ground_truth.panoptic_json, maps, table)
    _write_panoptic(workload.prediction.panoptic_json, predictions, table)
    gt_instances = [{**instance, "id": number} for number, instance in enumerate(_instances(maps, table), 1)]
    document = {"images": _images(maps), "annotations": gt_instances, "categories": table.to_json()}
    workload.gt_instances.write_text(json.dumps(document), encoding="utf-8")
    found = [{**instance, "score": round(float(rng.random()), 3)} for instance in _instances(predictions, table)]
    workload.predicted_instances.write_text(json.dumps(found), encoding="utf-8")
    hundred = [
        {**instance, "score": round(float(rng.random()), 3)}
        for _, of_image in groupby(found, key=itemgetter("image_id"))
        for instance in islice(cycle(of_image), 100)
    ]
    workload.hundred_instances.write_text(json.dumps(hundred), encoding="utf-8")
    return workload


def _drawn(workload: Workload, images: int, rng: np.random.Generator) -> tuple[CategoryTable, list[LabeledMap]]:
    maps = [draw_map(rng) for _ in range(images)]
    for number, gt in enumerate(maps):
        Image.fromarray(ids_to_rgb(gt.ids)).save(workload.ground_truth.masks / _name(number))
    return drawn_categories(), maps


def _taken(workload: Workload, images: int, given: PanopticFiles) -> tuple[CategoryTable, list[LabeledMap]]:
    """Read a dataset's first id maps, and copy its PNGs byte for byte."""
    read = read_annotations(given.panoptic_json)
    assert read.categories is not None, "without a table given, reading has raised"
    source = open_files(given.masks)
    maps = []
    for number, annotation in enumerate(read.annotations[:images]):
        data = source.read(annotation.file_name)
        (workload.ground_truth.masks / _name(number)).write_bytes(data)
        maps.append(LabeledMap(decode_id_map(data, annotation.file_name), annotation.segments))
    return read.categories, maps


def _write_panoptic(path: Path, maps: list[LabeledMap], table: CategoryTable) -> None:
    annotations = [
        {"image_id": number, "file_name": _name(number), "segments_info": list(_segments(labeled))}
        for number, labeled in enumerate(maps)
    ]
    document = {"images": _images(maps), "annotations": annotations, "categories": table.to_json()}
    path.write_text(json.dumps(document), encoding="utf-8")


def _segments(labeled: LabeledMap) -> Iterator[JsonFields]:
    extents = measure_segments(labeled.ids)
    for segment in labeled.segments:
        extent = extents[segment.id]
        common = {"category_id": segment.category_id, "iscrowd": int(segment.is_crowd)}
        yield {"id": segment.id, **common, "area": extent.area, "bbox": extent.box_xywh}


def _instances(maps: Iterable[LabeledMap], table: CategoryTable) -> Iterator[JsonFields]:
    """Return the things in COCO's detection format."""
    for number, labeled in enumerate(maps):
        for segment, info in zip(labeled.segments, _segments(labeled), strict=True):
            if table.by_id(segment.category_id).is_thing:
                yield {**info, "image_id": number, "segmentation": encode_mask(labeled.ids == segment.id)}


def _images(maps: list[LabeledMap]) -> list[JsonFields]:
    sizes = [labeled.ids.shape for labeled in maps]
    return [
        {"id": number, "file_name": _name(number), "height": height, "width": width}
        for number, (height, width) in enumerate(sizes)
    ]


def _name(number: int) -> str:
    return f"{number:06d}.png"
