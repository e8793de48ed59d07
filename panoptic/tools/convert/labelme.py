"""Own data drawn with LabelMe (labelme.io): a JSON beside each image. The only description of the format is the source
of LabelMe, `labelme/_label_file.py`.

Polygons, rectangles (also oriented ones), circles and masks are regions. Shapes with the same label and `group_id` are
parts of one instance. A shape with the flag `crowd` (or `iscrowd`) is a crowd. Points and lines have no area and are
left out. Polygons are filled as COCO fills them, without the outer half of the one pixel wide outline that LabelMe's
own export draws. X-AnyLabeling writes the same format, with rectangles of four corners, and rotated ones.
"""

import base64
import binascii
import io
import posixpath
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from panoptic.data.image_header import open_image
from panoptic.datasets.layout import is_image
from panoptic.instances.rle import Rle
from panoptic.io.errors import DatasetError, Issues
from panoptic.io.folder import Folder
from panoptic.io.json_fields import JsonObject, is_number, read_json
from panoptic.tools.convert.classes import ClassTable
from panoptic.tools.convert.drawing import WITHOUT_AREA, AnnotatedImage, Note, Region
from panoptic.tools.convert.images import FOUND_ELSEWHERE, ImageFile, Images, refusing_unreadable
from panoptic.tools.convert.shapes import Point, circle_mask, paste_mask, polygons_mask, union

_CROWD_FLAGS = ("crowd", "iscrowd")
_WITHOUT_AREA = ("point", "points", "line", "linestrip")
_CORNERS = dict.fromkeys(("oriented_rectangle", "rotation", "quadrilateral"), (4,))
_POINTS = {"rectangle": (2, 4), "circle": (2,), "mask": (2,), **_CORNERS}
_EMBEDDED = "images taken from LabelMe files, because they are in no file of their own"


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
        file, note = self._image(item, document)
        notes = [note] if note else []
        sized = document.has("imageHeight") and document.has("imageWidth")
        annotated = (document.integer("imageHeight"), document.integer("imageWidth")) if sized else None
        size = self.images.size_of(file, annotated, document.where)
        instances: dict[tuple[str, str, bool], list[Region]] = {}
        for index, shape in enumerate(document.objects("shapes")):
            with issues.collected():
                label, group = shape.text("label"), shape.values.get("group_id")
                where = f"{shape.where} ('{label}')"
                if not _has_area(shape):
                    notes.append(Note(WITHOUT_AREA, where))
                    continue
                part = Region(self.classes.find(label, where), _mask(shape, *size, where), _is_crowd(shape), where)
                key = label, str(index) if group in (None, "") else f"group {group!r}", part.marked_crowd
                instances.setdefault(key, []).append(part)
        regions = (replace(parts[0], mask=union([part.mask for part in parts])) for parts in instances.values())
        return AnnotatedImage(self.image_ids[item], file, *size, tuple(regions), None, document.where, tuple(notes))

    def _image(self, item: str, document: JsonObject) -> tuple[ImageFile, Note | None]:
        """Find the image of a LabelMe file: where its path says, beside the file, inside it, or anywhere else."""
        # The path is valid on the machine where the image was annotated.
        named = document.file_name("imagePath") if document.has("imagePath") else ""
        recorded = posixpath.join(posixpath.dirname(item), named)
        beside = posixpath.join(posixpath.dirname(item), posixpath.basename(recorded))
        if beside == item or posixpath.basename(recorded) in ("", ".."):
            # Some files name themselves, or nothing. Readers do not rely on the suffix.
            stem = posixpath.splitext(item)[0]
            same = [name for name in self.images.finder.names if is_image(name) and posixpath.splitext(name)[0] == stem]
            recorded = beside = same[0] if len(same) == 1 else f"{stem}.jpg"
        for name in (posixpath.normpath(recorded), beside):
            if (file := self.images.finder.exact(name)) is not None:
                return ImageFile(file), None
        if document.has("imageData"):
            message = f"{document.where}: 'imageData' is no image; add the image '{beside}'"
            content = _decoded(document, "imageData", message)
            return ImageFile(beside, content), Note(_EMBEDDED, f"'{beside}' in {document.where}")
        file, _ = self.images.finder.find("/".join(part for part in recorded.split("/") if part != ".."))
        return ImageFile(file), Note(FOUND_ELSEWHERE, f"'{named}' is {file}")


def open_labelme(path: Path, images: Images, classes: ClassTable | None, other: Path | None = None) -> LabelMeSource:
    """Find the LabelMe files below a folder, in which the JSON `other` may lie, which is none.

    Raises `DatasetError` if there are none, or no classes are given.
    """
    folder = Folder(path)
    names = tuple(name for name in folder.names() if name.lower().endswith(".json"))
    if other is not None:
        names = tuple(name for name in names if folder.path_of(name).resolve() != other.resolve())
    if not names:
        raise DatasetError(f"{path}: contains no LabelMe file (.json); give the folder in which LabelMe saved them")
    if classes is None:
        raise DatasetError(_template(folder, names))
    return LabelMeSource(folder, images, classes, {name: image_id for image_id, name in enumerate(names, start=1)})


def read_labelme(path: Path) -> JsonObject:
    """Read a LabelMe file. Raises `DatasetError` for any other JSON."""
    document = read_json(path)
    if not (document.has("shapes") and "imagePath" in document.values):
        raise DatasetError(f"{path}: not a LabelMe file (no 'shapes' or 'imagePath'); move it elsewhere")
    return document


def _template(folder: Folder, names: Sequence[str]) -> str:
    """Propose a class table from the labels in use: LabelMe does not know things and stuff."""
    issues = Issues()
    counts: Counter[str] = Counter()
    for name in names:
        with issues.collected():
            shapes = read_labelme(folder.path_of(name)).objects("shapes")
            counts.update([shape.text("label") for shape in shapes if _has_area(shape)])
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


def _shape_type(shape: JsonObject) -> str:
    return shape.text("shape_type") if shape.has("shape_type") else "polygon"  # absent from old files


def _has_area(shape: JsonObject) -> bool:
    return _shape_type(shape) not in _WITHOUT_AREA


def _mask(shape: JsonObject, height: int, width: int, where: str) -> Rle:
    shape_type, points = _shape_type(shape), _points(shape, where)
    expected = _POINTS.get(shape_type, (len(points),))
    if len(points) not in expected:
        found = f"a {shape_type} of {len(points)} points instead of {' or '.join(map(str, expected))}"
        raise DatasetError(f"{where}: {found}; draw it again")
    match shape_type:
        case "rectangle" if len(points) == 2:
            (left, top), (right, bottom) = points
            corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
            return polygons_mask([corners], height, width, where)
        case "polygon" | "oriented_rectangle" | "rotation" | "quadrilateral" | "rectangle":
            return polygons_mask([points], height, width, where)
        case "circle":
            return circle_mask(points[0], points[1], height, width)
        case "mask":
            left, top = (int(coordinate) for coordinate in points[0])
            return paste_mask(_embedded_mask(shape, height, width), left, top, height, width)
        case _:
            message = f"shapes of type '{shape_type}' are unknown; draw a polygon, rectangle, circle or mask instead"
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
    with refusing_unreadable(message), open_image(io.BytesIO(_decoded(shape, "mask", message))) as image:
        if image.mode not in ("1", "L", "P") or image.height > height or image.width > width:
            found = f"'mask' is an image of {image.height} x {image.width} ({image.mode})"
            raise DatasetError(f"{shape.where}: {found}; expected one channel, no larger than the image")
        return np.asarray(image).astype(bool)


def _decoded(document: JsonObject, key: str, message: str) -> bytes:
    """Decode a file inside a field. Raises `DatasetError` with this message for anything else."""
    try:
        return base64.b64decode(document.text(key).rpartition(",")[2])  # after the head of a data URL, if it is one
    except (binascii.Error, ValueError):
        raise DatasetError(message) from None
