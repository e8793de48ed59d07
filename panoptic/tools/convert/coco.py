"""Own data in COCO's instance format, which CVAT writes too ('COCO 1.0'), with or without semantic PNGs."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from panoptic.data.image_header import open_image
from panoptic.format.image_id import ImageId, two_types
from panoptic.format.panoptic_json import ImageEntry
from panoptic.instances.rle import Rle, check_size, read_rle
from panoptic.io.errors import DatasetError, Issues, shown_ids
from panoptic.io.files import FileSource
from panoptic.io.json_fields import JsonObject, is_number, read_json
from panoptic.io.names import normal_text
from panoptic.tools.convert.classes import ClassTable, things_only
from panoptic.tools.convert.drawing import NO_LABEL, AnnotatedImage, Note, Region
from panoptic.tools.convert.finding import FileFinder
from panoptic.tools.convert.images import FOUND_ELSEWHERE, ImageFile, Images, refusing_unreadable
from panoptic.tools.convert.shapes import polygons_mask
from panoptic.tools.image_list import parse_image_list

_ONE_NAME = "annotations of categories that share a name, and count as the class of that name"
_PARTS_WITHOUT_AREA = "parts of outlines with fewer than 3 points, which have no area, left out"
_MAPS_ELSEWHERE = "semantic PNGs found under another name"


@dataclass(frozen=True)
class CocoSource:
    """An instance JSON, and the semantic PNGs named like the images if there are any."""

    path: Path
    images: Images
    classes: ClassTable
    semantic: FileFinder | None
    no_crowds: bool
    entries: dict[str, ImageEntry]
    annotations: dict[ImageId, tuple[JsonObject, ...]]
    names: dict[int | str, str]

    def paths(self) -> tuple[Path, ...]:
        """List the files and folders of the source."""
        semantic = () if self.semantic is None else (self.semantic.files.path,)
        return self.path, self.images.files.path, *semantic

    def items(self) -> Sequence[str]:
        """List the names of the images, sorted."""
        return sorted(self.entries)

    def read(self, item: str, issues: Issues) -> AnnotatedImage:
        """Read one image; adds issues of single annotations to `issues`. Raises `DatasetError` for all others."""
        entry = self.entries[item]
        notes: list[Note] = []
        name = _found(self.images.finder, item, FOUND_ELSEWHERE, notes)
        size = self.images.size_of(ImageFile(name), (entry.height, entry.width), str(self.path))
        regions = []
        for annotation in self.annotations.get(entry.id, ()):
            with issues.collected():
                regions.append(self._region(annotation, entry, notes))
        semantic = None
        if self.semantic is not None:
            png = PurePosixPath(name).with_suffix(".png").as_posix()
            png = _found(self.semantic, png, _MAPS_ELSEWHERE, notes)
            semantic = read_semantic(self.semantic.files, png, self.classes, size)
        where = f"{self.path}: '{item}'"
        return AnnotatedImage(entry.id, ImageFile(name), *size, tuple(regions), semantic, where, tuple(notes))

    @cached_property
    def _shared_names(self) -> frozenset[str]:
        return frozenset(name for name, count in Counter(self.names.values()).items() if count > 1)

    def _region(self, annotation: JsonObject, entry: ImageEntry, notes: list[Note]) -> Region:
        category_id = annotation.identifier("category_id")
        if category_id not in self.names:
            raise DatasetError(f"{annotation.where}: category {category_id!r} is not in 'categories'; add it there")
        name, where = self.names[category_id], f"{annotation.where} ('{entry.file_name}')"
        category = self.classes.find(name, annotation.where, category_id)
        if name in self._shared_names and (category is None or category.id != category_id):
            notes.append(Note(_ONE_NAME, f"{annotation.where}: category {category_id} is '{name}'"))
        crowd = annotation.flag("iscrowd") if annotation.has("iscrowd") else False
        mask, left_out = _mask(annotation, entry)
        notes += [Note(_PARTS_WITHOUT_AREA, where)] * left_out
        return Region(category, mask, crowd and not self.no_crowds, where)


def _found(finder: FileFinder, name: str, what: str, notes: list[Note]) -> str:
    """The file that `name` means; adds a note of `what` happened if it has another name."""
    file, is_exact = finder.find(name)
    if not is_exact:
        notes.append(Note(what, f"'{name}' is {file}"))
    return file


def open_coco(
    path: Path, images: Images, classes: ClassTable | None, semantic: FileSource | None, no_crowds: bool
) -> CocoSource:
    """Read an instance JSON. Without `classes`, its categories are used, all as things.

    Raises `DatasetError` with every issue of its lists: an image or a category listed twice, an annotation of an image
    that is not listed.
    """
    document = read_json(path)
    entries = {entry.file_name: entry for entry in parse_image_list(document)}
    known = {entry.id for entry in entries.values()}
    issues = Issues()
    names: dict[int | str, str] = {}
    for entry in document.objects("categories"):
        with issues.collected():
            category_id = entry.identifier("id")
            if category_id in names:
                raise DatasetError(f"{entry.where}: category id {category_id!r} is listed twice; remove one")
            names[category_id] = normal_text(entry.text("name"))
    annotations: dict[ImageId, list[JsonObject]] = defaultdict(list)
    for annotation in document.objects("annotations"):
        with issues.collected():
            image_id = annotation.identifier("image_id")
            if image_id not in known:
                mixture = two_types((image_id, *known))
                hint = f"write ids of one type, here are {mixture}" if mixture else "add the image"
                raise DatasetError(f"{annotation.where}: image id {image_id!r} is not in 'images'; {hint}")
            annotations[image_id].append(annotation)
    issues.raise_if_any(str(path))
    if classes is None and (texts := [category_id for category_id in names if isinstance(category_id, str)]):
        hint = "give a class table with --classes, which numbers the classes by their names"
        raise DatasetError(f"{path}: category ids are text ({shown_ids(texts, 3)}); {hint}")
    table = classes or things_only(document.objects("categories"), str(path))
    grouped = {image_id: tuple(group) for image_id, group in annotations.items()}
    maps = None if semantic is None else FileFinder(semantic, "--semantic")
    return CocoSource(path, images, table, maps, no_crowds, entries, grouped, names)


def _mask(annotation: JsonObject, entry: ImageEntry) -> tuple[Rle, int]:
    """Read the mask of an annotation, and count the parts that have no area beside others that have one."""
    shape = annotation.values.get("segmentation")
    if isinstance(shape, dict):
        mask = read_rle(annotation.child("segmentation"))
        check_size(mask, entry.height, entry.width, annotation.where)
        return mask, 0
    if not shape and annotation.has("bbox"):
        raise DatasetError(f"{annotation.where}: has only a box; draw the outline, or remove it")
    if not isinstance(shape, list) or not shape or not all(map(_is_polygon, shape)):
        raise DatasetError(f"{annotation.where}: 'segmentation' should be RLE, or polygons as lists of x, y, ...")
    polygons = [list(zip(part[::2], part[1::2], strict=True)) for part in shape]
    with_area = [points for points in polygons if len(points) >= 3] or polygons
    return polygons_mask(with_area, entry.height, entry.width, annotation.where), len(polygons) - len(with_area)


def _is_polygon(part: object) -> bool:
    return isinstance(part, list) and len(part) % 2 == 0 and all(map(is_number, part))


def read_semantic(files: FileSource, name: str, classes: ClassTable, size: tuple[int, int]) -> NDArray[np.int32]:
    """Read a semantic PNG of one channel, or with a palette, as (H,W) labels.

    Raises `DatasetError` for one that is missing, has several channels, has another size, or holds an unknown value.
    """
    where = f"{files.path}: {name}"
    unreadable = f"{where}: not a readable PNG; write it again"
    data = files.read(name)
    with refusing_unreadable(unreadable), open_image(BytesIO(data)) as image:
        if image.format != "PNG":
            raise DatasetError(f"{where}: a {image.format}, not a PNG; write it as PNG, which keeps every value")
        if image.mode not in ("1", "L", "P", "I", "I;16"):
            hint = "write one channel, or a palette, in which the value of a pixel is its class"
            raise DatasetError(f"{where}: a color image ({image.mode}); {hint}")
        if image.size[::-1] != size:
            sizes = f"{image.height} x {image.width}, but the image is {size[0]} x {size[1]}"
            raise DatasetError(f"{where}: {sizes} (height x width); write it at that size")
        values = np.asarray(image).astype(np.int32)
    present, indices = np.unique(values, return_inverse=True)
    unknown = [value for value in present.tolist() if value not in classes.values]
    if unknown:
        pixels = int(np.isin(values, unknown).sum())
        shown = ", ".join(map(str, unknown[:5]))
        message = f"{pixels} pixels have values without a class ({shown})"
        raise DatasetError(f"{where}: {message}; add them to 'values' in the class table, as void if they have none")
    found = [classes.values[value] for value in present.tolist()]
    labels = [NO_LABEL if category is None else classes.categories.label_of(category.id) for category in found]
    return np.array(labels, np.int32)[indices].reshape(values.shape)
