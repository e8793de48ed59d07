"""Writing the files of one image, and the JSON files of all, each completely or not at all."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import cast

from PIL import Image

from panoptic.datasets.layout import is_image
from panoptic.format.categories import CategoryTable
from panoptic.instances.detection_json import segment_rles, write_json_lists
from panoptic.io.files import naming_disk_errors, write_together
from panoptic.io.folder import Folder
from panoptic.io.json_fields import encode_json
from panoptic_segformer.predict.inputs import Input, natural_key
from panoptic_segformer.predict.journal import Entry, Journal
from panoptic_segformer.predict.labelme import CLASSES, classes_yaml, labelme_document
from panoptic_segformer.predict.options import Outputs
from panoptic_segformer.result import Result

# Of overlays: visually lossless, with text in full color resolution.
_SAVED: Mapping[str, dict[str, int]] = {"jpg": {"quality": 92, "subsampling": 0}, "png": {"compress_level": 3}}


def write_image(result: Result, source: Input, name: str, content: bytes | None, outputs: Outputs) -> Entry:
    """Write the files of an image, together; returns what the journal says of it.

    `content` is that of the file where it cannot be read once more.
    """
    found = cast(Sequence[object], result.to_coco()["segments_info"])
    height, width = result.ids.shape
    image_name = str(PurePosixPath(name).with_name(PurePosixPath(source.name).name))
    files = {f"panoptic/{name}.png": result.to_png()}
    if outputs.overlay:
        files[f"overlays/{name}.{outputs.overlay}"] = _encoded_overlay(result, outputs.overlay)
    beside = f"{name}{_suffix(source, content)}" if outputs.labelme else ""
    if outputs.labelme:
        document = labelme_document(result, PurePosixPath(beside).name)
        files[f"labelme/{name}.json"] = encode_json(document)
    with write_together() as together:
        for path, data in files.items():
            together.write(outputs.folder / path, data)
        if outputs.labelme:
            _place(source, content, together.file(outputs.folder / "labelme" / beside))
    listed = (*files, *([f"labelme/{beside}"] if beside else []))
    image: dict[str, object] = {"file_name": image_name, "height": height, "width": width}
    instances = list(_instances(result)) if outputs.coco_instances else None
    return Entry(name, source.origin, source.identity, listed, image, list(found), instances)


def write_lists(journal: Journal, categories: CategoryTable, outputs: Outputs) -> None:
    """Write the JSON files of all images in the folder, numbered in natural order of their names."""
    entries = sorted(journal.entries.values(), key=lambda entry: natural_key(entry.name))
    numbered = list(enumerate(entries, start=1))
    images = [{"id": number, **entry.image} for number, entry in numbered]
    annotations = [
        {"image_id": number, "file_name": f"{entry.name}.png", "segments_info": entry.segments}
        for number, entry in numbered
    ]
    common = {"images": images, "categories": categories.to_json()}
    document = {**common, "annotations": annotations}
    with write_together() as together:
        together.write(outputs.folder / "panoptic.json", (json.dumps(document) + "\n").encode())
        if outputs.coco_instances:
            file = BytesIO()
            write_json_lists(file, {**common, "annotations": _numbered(numbered)})
            together.write(outputs.folder / "instances.json", file.getvalue())
        if outputs.labelme:
            together.write(outputs.folder / "labelme" / CLASSES, classes_yaml(categories))


def _numbered(entries: Sequence[tuple[int, Entry]]) -> Iterator[dict[str, object]]:
    instances = ((image_id, each) for image_id, entry in entries for each in entry.instances or ())
    for number, (image_id, instance) in enumerate(instances, start=1):
        yield {"id": number, "image_id": image_id, **cast(dict[str, object], instance)}


def _instances(result: Result) -> Iterator[object]:
    """Describe the segments as COCO instances, stuff included, so that nothing is lost when they are corrected."""
    height, width = result.ids.shape
    rles = segment_rles(result.ids, [segment.id for segment in result.segments])
    for segment, counts in zip(result.segments, rles, strict=True):
        yield {
            "category_id": segment.category_id,
            "iscrowd": 0,
            "area": segment.area,
            "bbox": list(segment.box),
            "segmentation": {"size": [height, width], "counts": counts},
            "score": segment.score,
        }


def _encoded_overlay(result: Result, overlay: str) -> bytes:
    buffer = BytesIO()
    result.overlay().save(buffer, "JPEG" if overlay == "jpg" else "PNG", **_SAVED[overlay])
    return buffer.getvalue()


def _suffix(source: Input, content: bytes | None) -> str:
    """Return the suffix by which LabelMe recognizes the image, from its content where the name has none."""
    if is_image(source.name):
        return PurePosixPath(source.name).suffix
    with Image.open(BytesIO(source.read() if content is None else content)) as image:
        return f".{(image.format or 'png').lower()}"


def _place(source: Input, content: bytes | None, target: Path) -> None:
    """Put the image of the input at `target`, as a hard link where possible, otherwise as a copy."""
    with naming_disk_errors(target):
        if isinstance(source.source, Folder):
            try:
                os.link(source.source.path_of(source.name).resolve(), target)
            except OSError:  # another file system, or one without hard links
                pass
            else:
                return
        target.write_bytes(source.read() if content is None else content)
