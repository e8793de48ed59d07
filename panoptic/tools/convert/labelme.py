"""Own data drawn with LabelMe (labelme.io): a JSON beside each image. Its format has no other description than its
source, `labelme/_label_file.py`.

Polygons, rectangles (oriented ones too), circles and masks are regions. Shapes of one label with the same `group_id`
are one instance, in several parts. A shape with the flag `crowd` (or `iscrowd`) is a crowd. Points and lines have no
area and are refused. A polygon is filled as COCO fills it, which leaves out half of the one pixel wide outline that
LabelMe's own export draws.
"""

import base64
import binascii
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from panoptic.instances.rle import Rle
from panoptic.io.errors import DatasetError, Issues
from panoptic.io.files import Folder
from panoptic.io.json_fields import JsonObject, is_number, read_json
from panoptic.tools.convert.classes import ClassTable
from panoptic.tools.convert.drawing import AnnotatedImage, Region
from panoptic.tools.convert.images import Images
from panoptic.tools.convert.shapes import Point, circle_mask, placed_mask, polygons_mask, union

_CROWD_FLAGS = ("crowd", "iscrowd")
_CORNERS = {"rectangle": 2, "circle": 2, "mask": 2, "oriented_rectangle": 4}


@dataclass(frozen=True)
class LabelMeSource:
    """The LabelMe files of a folder and those below it; images lie in the same places below `images`."""

    folder: Path
    images: Images
    classes: ClassTable
    image_ids: dict[str, int]

    def places(self) -> tuple[Path, ...]:
        """Where the source lies."""
        return self.folder, self.images.files.path

    def items(self) -> Sequence[str]:
        """The names of the JSON files, sorted."""
        return tuple(self.image_ids)

    def read(self, item: str, issues: Issues) -> AnnotatedImage:
        """One image; adds what is wrong with single shapes to `issues`. Raises `DatasetError` for the rest."""
        document = read_labelme(self.folder / item)
        # The path that LabelMe notes is that of the machine on which the image was annotated.
        base = PurePosixPath(document.text("imagePath").replace("\\", "/")).name
        name = (PurePosixPath(item).parent / base).as_posix()
        size = self.images.size(name)
        noted = document.integer("imageHeight"), document.integer("imageWidth")
        if noted != size:
            sizes = f"{noted[0]} x {noted[1]} (height x width), but the image is {size[0]} x {size[1]}"
            raise DatasetError(f"{document.where}: was drawn on {sizes}; take the image that it was drawn on")
        parts: dict[tuple[str, str, bool], list[tuple[Rle, str]]] = {}
        for place, shape in enumerate(document.objects("shapes")):
            with issues.collected():
                label, group = shape.text("label"), shape.values.get("group_id")
                where = f"{shape.where} ('{label}')"
                self.classes.find(label, where)
                mask = _mask(shape, *size, where)
                key = label, str(place) if group is None else f"group {group!r}", _is_crowd(shape)
                parts.setdefault(key, []).append((mask, where))
        regions = tuple(self._region(label, is_crowd, group) for (label, _, is_crowd), group in parts.items())
        return AnnotatedImage(self.image_ids[item], name, *size, regions, None, document.where)

    def _region(self, label: str, is_crowd: bool, parts: Sequence[tuple[Rle, str]]) -> Region:
        where = parts[0][1]
        category = self.classes.find(label, where)
        is_thing = category is not None and category.is_thing
        return Region(category, union([mask for mask, _ in parts]), is_crowd and is_thing, where)


def open_labelme(folder: Path, images: Images, classes: ClassTable | None) -> LabelMeSource:
    """Find the LabelMe files below a folder. Raises `DatasetError` if there are none, or no classes are given."""
    names = tuple(name for name in Folder(folder).names() if name.endswith(".json"))
    if not names:
        raise DatasetError(f"{folder}: no LabelMe file (.json) in it; give the folder into which LabelMe has saved")
    if classes is None:
        raise DatasetError(_template(folder, names))
    return LabelMeSource(folder, images, classes, {name: place for place, name in enumerate(names, start=1)})


def read_labelme(path: Path) -> JsonObject:
    """Read a file of LabelMe. Raises `DatasetError` for another JSON."""
    document = read_json(path)
    if "shapes" not in document.values or "imagePath" not in document.values:
        raise DatasetError(f"{path}: not a file of LabelMe ('shapes', 'imagePath'); move it elsewhere")
    return document


def _template(folder: Path, names: Sequence[str]) -> str:
    """What to do without a class table: LabelMe knows nothing of things and stuff."""
    issues = Issues()
    counts: Counter[str] = Counter()
    for name in names:
        with issues.collected():
            counts.update([shape.text("label") for shape in read_labelme(folder / name).objects("shapes")])
    issues.raise_if_any(str(folder))
    found = ", ".join(f"{label} ({count})" for label, count in sorted(counts.items()))
    return (
        f"{folder}: which classes are things, and which stuff? Found: {found or 'no shape at all'}. Write a file\n"
        f"    things: [{', '.join(sorted(counts))}]\n    stuff: []\nmove what cannot be counted"
        " (sky, table) to 'stuff', and give it with --classes FILE"
    )


def _is_crowd(shape: JsonObject) -> bool:
    flags = shape.values.get("flags") or {}
    return isinstance(flags, dict) and any(flags.get(name) for name in _CROWD_FLAGS)


def _mask(shape: JsonObject, height: int, width: int, where: str) -> Rle:
    kind = shape.text("shape_type") if shape.values.get("shape_type") else "polygon"  # old files do not say it
    points = _points(shape, where)
    if kind in _CORNERS and len(points) != _CORNERS[kind]:
        raise DatasetError(f"{where}: a {kind} of {len(points)} points instead of {_CORNERS[kind]}; draw it again")
    match kind:
        case "polygon" | "oriented_rectangle":
            return polygons_mask([points], height, width, where)
        case "rectangle":
            (left, top), (right, bottom) = points
            corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
            return polygons_mask([corners], height, width, where)
        case "circle":
            return circle_mask(points[0], points[1], height, width)
        case "mask":
            left, top = (int(coordinate) for coordinate in points[0])
            return placed_mask(_decoded(shape, height, width), left, top, height, width)
        case _:
            raise DatasetError(f"{where}: a {kind} has no area; draw a polygon, rectangle, circle or mask instead")


def _points(shape: JsonObject, where: str) -> list[Point]:
    points = shape.values.get("points")
    if not isinstance(points, list):
        raise DatasetError(f"{where}: 'points' should be a list; draw the shape again")
    for point in points:
        if not isinstance(point, list) or len(point) != 2 or not all(map(is_number, point)):
            raise DatasetError(f"{where}: 'points' should be pairs of numbers, found {point!r:.60}; draw it again")
    return [(float(x), float(y)) for x, y in points]


def _decoded(shape: JsonObject, height: int, width: int) -> NDArray[np.bool_]:
    """The small PNG of a shape that is a mask."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(shape.text("mask"), validate=True))) as image:
            if image.mode not in ("1", "L", "P") or image.height > height or image.width > width:
                message = f"'mask' is an image of {image.height} x {image.width} ({image.mode})"
                raise DatasetError(f"{shape.where}: {message}; one channel, no larger than the image, is expected")
            return np.asarray(image).astype(bool)
    except (binascii.Error, UnidentifiedImageError, Image.DecompressionBombError, OSError):
        raise DatasetError(f"{shape.where}: 'mask' is not a PNG that can be read; draw the shape again") from None
