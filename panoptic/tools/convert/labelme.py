"""Own data drawn with LabelMe (labelme.io): a JSON beside each image. The only description of the format is the source
of LabelMe, `labelme/_label_file.py`.

Polygons, rectangles (also oriented ones), circles and masks are regions. Shapes with the same label and `group_id` are
parts of one instance. A shape with the flag `crowd` (or `iscrowd`) is a crowd. Points and lines have no area and are
refused. Polygons are filled as COCO fills them, without the outer half of the one pixel wide outline that LabelMe's
own export draws.
"""

import base64
import binascii
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from panoptic.instances.rle import Rle
from panoptic.io.errors import DatasetError, Issues
from panoptic.io.folder import Folder
from panoptic.io.json_fields import JsonObject, is_number, read_json
from panoptic.tools.convert.classes import ClassTable
from panoptic.tools.convert.drawing import AnnotatedImage, Region
from panoptic.tools.convert.images import Images, refusing_unreadable
from panoptic.tools.convert.shapes import Point, circle_mask, paste_mask, polygons_mask, union

_CROWD_FLAGS = ("crowd", "iscrowd")
_POINTS = {"rectangle": 2, "circle": 2, "mask": 2, "oriented_rectangle": 4}


@dataclass(frozen=True)
class LabelMeSource:
    """The LabelMe files of a folder and its subfolders; images have the same relative paths below `images`."""

    folder: Folder
    images: Images
    classes: ClassTable
    image_ids: dict[str, int]

    def paths(self) -> tuple[Path, ...]:
        """List the folders of the source."""
        return self.folder.path, self.images.files.path

    def items(self) -> Sequence[str]:
        """List the names of the JSON files, sorted."""
        return tuple(self.image_ids)

    def read(self, item: str, issues: Issues) -> AnnotatedImage:
        """Read one image; adds issues of single shapes to `issues`. Raises `DatasetError` for all others."""
        document = read_labelme(self.folder.path_of(item))
        # LabelMe stores a path that is valid on the machine where the image was annotated.
        base = PurePosixPath(document.file_name("imagePath")).name
        name = (PurePosixPath(item).parent / base).as_posix()
        size = document.integer("imageHeight"), document.integer("imageWidth")
        self.images.check_size(name, size, document.where)
        instances: dict[tuple[str, str, bool], list[Region]] = {}
        for index, shape in enumerate(document.objects("shapes")):
            with issues.collected():
                label, group = shape.text("label"), shape.values.get("group_id")
                where = f"{shape.where} ('{label}')"
                part = Region(self.classes.find(label, where), _mask(shape, *size, where), _is_crowd(shape), where)
                key = label, str(index) if group is None else f"group {group!r}", part.marked_crowd
                instances.setdefault(key, []).append(part)
        regions = (replace(parts[0], mask=union([part.mask for part in parts])) for parts in instances.values())
        return AnnotatedImage(self.image_ids[item], name, *size, tuple(regions), None, document.where)


def open_labelme(path: Path, images: Images, classes: ClassTable | None) -> LabelMeSource:
    """Find the LabelMe files below a folder. Raises `DatasetError` if there are none, or no classes are given."""
    folder = Folder(path)
    names = tuple(name for name in folder.names() if name.endswith(".json"))
    if not names:
        raise DatasetError(f"{path}: contains no LabelMe file (.json); give the folder in which LabelMe saved them")
    if classes is None:
        raise DatasetError(_template(folder, names))
    return LabelMeSource(folder, images, classes, {name: image_id for image_id, name in enumerate(names, start=1)})


def read_labelme(path: Path) -> JsonObject:
    """Read a LabelMe file. Raises `DatasetError` for any other JSON."""
    document = read_json(path)
    if not (document.has("shapes") and document.has("imagePath")):
        raise DatasetError(f"{path}: not a LabelMe file (no 'shapes' or 'imagePath'); move it elsewhere")
    return document


def _template(folder: Folder, names: Sequence[str]) -> str:
    """Propose a class table from the labels in use: LabelMe does not know things and stuff."""
    issues = Issues()
    counts: Counter[str] = Counter()
    for name in names:
        with issues.collected():
            counts.update([shape.text("label") for shape in read_labelme(folder.path_of(name)).objects("shapes")])
    issues.raise_if_any(str(folder.path))
    found = ", ".join(f"{label} ({count})" for label, count in sorted(counts.items()))
    return (
        f"{folder.path}: which classes are things, and which are stuff? Found: {found or 'no shape at all'}. Write a"
        f" file\n    things: [{', '.join(sorted(counts))}]\n    stuff: []\nmove uncountable classes"
        " (sky, table) to 'stuff', and pass the file with --classes"
    )


def _is_crowd(shape: JsonObject) -> bool:
    flags = shape.values.get("flags") or {}
    return isinstance(flags, dict) and any(flags.get(name) for name in _CROWD_FLAGS)


def _mask(shape: JsonObject, height: int, width: int, where: str) -> Rle:
    shape_type = shape.text("shape_type") if shape.values.get("shape_type") else "polygon"  # absent from old files
    points = _points(shape, where)
    expected = _POINTS.get(shape_type, len(points))
    if len(points) != expected:
        raise DatasetError(f"{where}: a {shape_type} of {len(points)} points instead of {expected}; draw it again")
    match shape_type:
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
            return paste_mask(_embedded_mask(shape, height, width), left, top, height, width)
        case _:
            message = f"a {shape_type} has no area; draw a polygon, rectangle, circle or mask instead"
            raise DatasetError(f"{where}: {message}")


def _points(shape: JsonObject, where: str) -> list[Point]:
    points = shape.values.get("points")
    if not isinstance(points, list):
        raise DatasetError(f"{where}: 'points' should be a list; draw the shape again")
    for point in points:
        if not isinstance(point, list) or len(point) != 2 or not all(map(is_number, point)):
            raise DatasetError(f"{where}: 'points' should be pairs of numbers, found {point!r:.60}; draw it again")
    return [(float(x), float(y)) for x, y in points]


def _embedded_mask(shape: JsonObject, height: int, width: int) -> NDArray[np.bool_]:
    """Decode the small PNG inside a shape that is a mask."""
    message = f"{shape.where}: 'mask' is not a readable PNG; draw the shape again"
    try:
        data = base64.b64decode(shape.text("mask"), validate=True)
    except binascii.Error:
        raise DatasetError(message) from None
    with refusing_unreadable(message), Image.open(io.BytesIO(data)) as image:
        if image.mode not in ("1", "L", "P") or image.height > height or image.width > width:
            found = f"'mask' is an image of {image.height} x {image.width} ({image.mode})"
            raise DatasetError(f"{shape.where}: {found}; expected one channel, no larger than the image")
        return np.asarray(image).astype(bool)
