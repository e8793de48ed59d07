"""Writing the files that the evaluation benchmark works on.

True PNGs are written as COCO's were, by Pillow; predicted ones as this project writes them.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.evaluation_pictures import LabelledMap, draw_map, drawn_categories, paint, spoil_map
from benchmarks.evaluation_workload import Workload
from panoptic.annotations import read_annotations
from panoptic.categories import CategoryTable
from panoptic.detection_format import encode_mask
from panoptic.files import open_files
from panoptic.id_map import decode_id_map, encode_id_map, ids_to_rgb
from panoptic.scoring_files import PanopticFiles
from panoptic.segments import measure_segments

JsonFields = dict[str, object]


def write_workload(folder: Path, pictures: int, painted: int, seed: int, given: PanopticFiles | None) -> Workload:
    """Draw so many pictures, or take the first of a dataset; make results for all, and images for the first few."""
    workload = Workload(folder)
    for below in (workload.truth.masks, workload.prediction.masks, workload.images):
        below.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    table, maps = _drawn(workload, pictures, rng) if given is None else _taken(workload, pictures, given)
    results = [spoil_map(true, table, rng) for true in maps]
    for number, result in enumerate(results):
        (workload.prediction.masks / _name(number)).write_bytes(encode_id_map(result.ids))
    for number, true in enumerate(maps[:painted]):
        Image.fromarray(paint(true.ids, rng)).save(workload.images / _name(number))
    _write_panoptic(workload.truth.panoptic_json, maps, table)
    _write_panoptic(workload.prediction.panoptic_json, results, table)
    true_instances = [{**instance, "id": number} for number, instance in enumerate(_instances(maps, table), 1)]
    listed = {"images": _images(maps), "annotations": true_instances, "categories": table.to_json()}
    workload.true_instances.write_text(json.dumps(listed))
    found = [{**instance, "score": round(float(rng.random()), 3)} for instance in _instances(results, table)]
    workload.predicted_instances.write_text(json.dumps(found))
    return workload


def _drawn(workload: Workload, pictures: int, rng: np.random.Generator) -> tuple[CategoryTable, list[LabelledMap]]:
    maps = [draw_map(rng) for _ in range(pictures)]
    for number, true in enumerate(maps):
        Image.fromarray(ids_to_rgb(true.ids)).save(workload.truth.masks / _name(number))
    return drawn_categories(), maps


def _taken(workload: Workload, pictures: int, given: PanopticFiles) -> tuple[CategoryTable, list[LabelledMap]]:
    """The PNGs are copied with their bytes as they are."""
    read = read_annotations(given.panoptic_json)
    assert read.categories is not None, "without a table given, reading has raised"
    source = open_files(given.masks)
    maps = []
    for number, annotation in enumerate(read.annotations[:pictures]):
        data = source.read(annotation.file_name)
        (workload.truth.masks / _name(number)).write_bytes(data)
        maps.append(LabelledMap(decode_id_map(data, annotation.file_name), annotation.segments))
    return read.categories, maps


def _write_panoptic(path: Path, maps: list[LabelledMap], table: CategoryTable) -> None:
    annotations = [
        {"image_id": number, "file_name": _name(number), "segments_info": list(_segments(labelled))}
        for number, labelled in enumerate(maps)
    ]
    document = {"images": _images(maps), "annotations": annotations, "categories": table.to_json()}
    path.write_text(json.dumps(document))


def _segments(labelled: LabelledMap) -> Iterator[JsonFields]:
    extents = measure_segments(labelled.ids)
    for segment in labelled.segments:
        extent = extents[segment.id]
        common = {"category_id": segment.category_id, "iscrowd": int(segment.is_crowd)}
        yield {"id": segment.id, **common, "area": extent.area, "bbox": extent.box_xywh}


def _instances(maps: Iterable[LabelledMap], table: CategoryTable) -> Iterator[JsonFields]:
    """The things, in COCO's detection format."""
    for number, labelled in enumerate(maps):
        for segment, info in zip(labelled.segments, _segments(labelled), strict=True):
            if table.by_id(segment.category_id).is_thing:
                yield {**info, "image_id": number, "segmentation": encode_mask(labelled.ids == segment.id)}


def _images(maps: list[LabelledMap]) -> list[JsonFields]:
    sizes = [labelled.ids.shape for labelled in maps]
    return [
        {"id": number, "file_name": _name(number), "height": height, "width": width}
        for number, (height, width) in enumerate(sizes)
    ]


def _name(number: int) -> str:
    return f"{number:06d}.png"
