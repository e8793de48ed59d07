"""COCO's panoptic JSON, of ground truth or of results, checked as far as it can be without the images."""

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from panoptic.format.categories import CategoryTable
from panoptic.format.id_map import MAX_ID, VOID
from panoptic.format.segments import AnnotatedSegment, SegmentLabel
from panoptic.io.errors import DatasetError, Issues
from panoptic.io.json_fields import JsonObject, is_number, read_json


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """An image as the JSON lists it; sizes in pixels."""

    id: int
    file_name: str
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Annotation:
    """The segments of one image; `file_name` is that of its panoptic PNG."""

    image_id: int
    file_name: str
    segments: tuple[SegmentLabel, ...]


@dataclass(frozen=True)
class PanopticAnnotations:
    """A panoptic JSON. Results may leave out `images` (then empty) and `categories` (then None)."""

    path: Path
    images: dict[int, ImageEntry]
    annotations: tuple[Annotation, ...]
    categories: CategoryTable | None

    @property
    def by_image(self) -> dict[int, Annotation]:
        return {annotation.image_id: annotation for annotation in self.annotations}


def read_annotations(path: Path, known: CategoryTable | None = None) -> PanopticAnnotations:
    """Read a panoptic JSON; results are read with the categories `known`, which they need not list themselves.

    Raises `DatasetError` with every issue found: a missing field, an image or segment listed twice, an id that
    cannot be drawn, an unknown category, no annotation at all (which results may lack).
    """
    document = read_json(path)
    issues = Issues()
    categories = None
    if "categories" in document.values:
        categories = CategoryTable.from_json(document.values["categories"], str(path))
    table = categories or known
    if table is None:
        raise DatasetError(f"{path}: the field 'categories' is missing; add the category list")
    images: dict[int, ImageEntry] = {}
    for entry in document.objects("images") if "images" in document.values else ():
        with issues.collected():
            image = _image(entry)
            if image.id in images:
                raise DatasetError(f"{entry.where}: image id {image.id} is listed twice; remove one")
            images[image.id] = image
    annotations: dict[int, Annotation] = {}
    for entry in document.objects("annotations"):
        with issues.collected():
            annotation = _annotation(entry, table)
            if annotation.image_id in annotations:
                raise DatasetError(f"{entry.where}: image id {annotation.image_id} is annotated twice; remove one")
            annotations[annotation.image_id] = annotation
    issues.raise_if_any(str(path))
    if not annotations and known is None:
        raise DatasetError(f"{path}: there are no annotations; add at least one image")
    return PanopticAnnotations(path, images, tuple(annotations.values()), categories)


def check_drawn(drawn: Set[int], annotation: Annotation, where: str) -> None:
    """Raise `DatasetError` unless the ids found in the PNG `where` are exactly those listed for it (and void)."""
    drawn = drawn - {VOID}
    listed = {segment.id for segment in annotation.segments}
    image = f"(image id {annotation.image_id})"
    if drawn - listed:
        raise DatasetError(
            f"{where}: {_some(drawn - listed)} drawn but not listed in 'segments_info' {image};"
            f" list the segment or paint it void (0)"
        )
    if listed - drawn:
        raise DatasetError(
            f"{where}: {_some(listed - drawn)} listed in 'segments_info' but not drawn {image};"
            f" draw the segment or remove it from the list"
        )


def _some(ids: Set[int]) -> str:
    shown = ", ".join(map(str, sorted(ids)[:5]))
    more = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
    return f"id {shown} is" if len(ids) == 1 else f"ids {shown}{more} are"


def _image(entry: JsonObject) -> ImageEntry:
    return ImageEntry(entry.integer("id"), entry.text("file_name"), entry.integer("height"), entry.integer("width"))


def _annotation(entry: JsonObject, categories: CategoryTable) -> Annotation:
    segments: dict[int, AnnotatedSegment] = {}
    for info in entry.objects("segments_info"):
        crowd = info.flag("iscrowd") if "iscrowd" in info.values else False
        segment = AnnotatedSegment(info.integer("id"), info.integer("category_id"), crowd, _listed_area(info))
        if not VOID < segment.id <= MAX_ID:
            hint = f"use 1..{MAX_ID}: 0 is void, and a PNG holds no more"
            raise DatasetError(f"{info.where}: segment id {segment.id} cannot be drawn; {hint}")
        if segment.id in segments:
            raise DatasetError(f"{info.where}: segment id {segment.id} is listed twice; remove one")
        if segment.category_id not in categories:
            raise DatasetError(
                f"{info.where}: segment {segment.id} has the unknown category {segment.category_id};"
                f" correct it or add it to 'categories'"
            )
        segments[segment.id] = segment
    return Annotation(entry.integer("image_id"), entry.text("file_name"), tuple(segments.values()))


def _listed_area(info: JsonObject) -> int | None:
    """What the JSON says of the area. By default no score depends on it: what is no whole number counts as nothing."""
    area = info.values.get("area")
    return int(area) if is_number(area) and float(area).is_integer() else None
