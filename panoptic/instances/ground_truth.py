"""Ground truth instances in COCO's detection format, checked while they are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from panoptic.format.categories import CategoryTable
from panoptic.format.image_id import ImageId
from panoptic.instances.rle import Rle, check_size, fill_polygons, read_rle
from panoptic.io.errors import DatasetError, Issues
from panoptic.io.json_fields import JsonObject, is_number, read_json
from panoptic.io.names import normal_text
from panoptic.io.png import MAX_PIXELS

Size = tuple[int, int]


@dataclass(frozen=True)
class InstanceGroundTruth:
    """The sizes of all images, and the things on them as annotations of COCO, whose ids count from 1."""

    sizes: Mapping[ImageId, Size]
    annotations: Sequence[dict[str, object]]


def read_instance_ground_truth(path: Path, categories: CategoryTable) -> InstanceGroundTruth:
    """Read the things of a file; stuff is left out.

    Raises `DatasetError` with every issue found: a missing or malformed field, a category that is unknown to
    `categories` or has another name there, an image that is not listed or listed twice, a mask that is damaged or of
    another size.
    """
    document = read_json(path)
    issues = Issues()
    sizes: dict[ImageId, Size] = {}
    annotations: list[dict[str, object]] = []
    for entry in document.objects("categories"):
        with issues.collected():
            _check_name(entry, categories)
    for entry in document.objects("images"):
        with issues.collected():
            image_id, size = entry.identifier("id"), (entry.integer("height"), entry.integer("width"))
            if image_id in sizes:
                raise DatasetError(f"{entry.where}: image id {image_id} is listed twice; remove one")
            if min(size) < 1 or prod(size) > MAX_PIXELS:
                raise DatasetError(f"{entry.where}: the size is {size[0]} x {size[1]} (height x width); correct it")
            sizes[image_id] = size
    for entry in document.objects("annotations"):
        with issues.collected():
            category_id = entry.integer("category_id")
            if category_id not in categories:
                message = f"category {category_id} is not in the panoptic ground truth; use one list of categories"
                raise DatasetError(f"{entry.where}: {message}")
            if categories.by_id(category_id).is_thing:
                annotations.append({"id": len(annotations) + 1, **_annotation(entry, sizes)})
    issues.raise_if_any(str(path))
    return InstanceGroundTruth(sizes, annotations)


def _check_name(entry: JsonObject, categories: CategoryTable) -> None:
    """Raise `DatasetError` for a name that differs: files of one dataset may number their classes differently."""
    category_id, name = entry.integer("id"), normal_text(entry.text("name"))
    if category_id in categories and categories.by_id(category_id).name != name:
        expected = categories.by_id(category_id).name
        message = f"category {category_id} is '{name}', but '{expected}' in the panoptic ground truth"
        raise DatasetError(f"{entry.where}: {message}; use one list")


def _annotation(entry: JsonObject, sizes: Mapping[ImageId, Size]) -> dict[str, object]:
    image_id = entry.identifier("image_id")
    if image_id not in sizes:
        raise DatasetError(f"{entry.where}: image id {image_id} is not in 'images'; add the image")
    return {
        "image_id": image_id,
        "category_id": entry.integer("category_id"),
        "iscrowd": int(entry.flag("iscrowd")) if entry.has("iscrowd") else 0,
        "area": entry.number("area"),
        "bbox": entry.numbers("bbox", 4),
        "segmentation": _mask(entry, sizes[image_id]),
    }


def _mask(entry: JsonObject, size: Size) -> Rle:
    """The mask of an annotation; polygons (lists of alternating x and y) are filled."""
    shape = entry.values.get("segmentation")
    if not isinstance(shape, list):
        mask = read_rle(entry.child("segmentation"))
        check_size(mask, *size, entry.where)
        return mask
    if not shape or not all(isinstance(part, list) and len(part) >= 6 and all(map(is_number, part)) for part in shape):
        raise DatasetError(f"{entry.where}: 'segmentation' should be a mask, or polygons of 3 points or more")
    return fill_polygons(shape, *size, entry.where)
