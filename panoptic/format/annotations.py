"""COCO's panoptic JSON, of ground truth or of results, checked as far as possible without the images."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from panoptic.format.categories import CategoryTable
from panoptic.format.id_map import VOID
from panoptic.format.image_id import ImageId, two_types
from panoptic.format.panoptic_json import ImageEntry, JsonIssue, PartialAnnotations, scan_annotations
from panoptic.format.segments import SegmentLabel
from panoptic.io.errors import DatasetError, Issues, shown_ids
from panoptic.io.json_fields import JsonObject, load_json


@dataclass(frozen=True, slots=True)
class Annotation:
    """The segments of one image; `file_name` is that of its panoptic PNG."""

    image_id: ImageId
    file_name: str
    segments: tuple[SegmentLabel, ...]


@dataclass(frozen=True)
class PanopticAnnotations:
    """A panoptic JSON. Results may leave out `images` (then empty) and `categories` (then None)."""

    path: Path
    images: dict[ImageId, ImageEntry]
    annotations: tuple[Annotation, ...]
    categories: CategoryTable | None

    @property
    def by_image(self) -> dict[ImageId, Annotation]:
        return {annotation.image_id: annotation for annotation in self.annotations}


def read_annotations(path: Path, known: CategoryTable | None = None) -> PanopticAnnotations:
    """Read a panoptic JSON; results are read with the categories `known`, which they need not list themselves.

    Raises `DatasetError` with every issue that `scan_annotations` finds.
    """
    issues = Issues()
    document = load_json(path)
    if isinstance(document, list):
        raise DatasetError(
            f"{path}: is a list; COCO's panoptic format is an object with 'annotations', a list of one entry for each "
            "image with 'image_id', 'file_name' and 'segments_info'"
        )
    found = scan_annotations(JsonObject.of(document, str(path)), lambda issue: issues.add(str(issue)), known)
    if known and (counted := _counted_labels(found, known)):
        issues.messages.insert(0, f"{path}: {counted}")  # since only the first ones are shown
    issues.raise_if_any(str(path))
    annotations = []
    for image_id, annotation in found.annotations.items():
        assert annotation.mask_name is not None
        assert annotation.segments is not None
        annotations.append(Annotation(image_id, annotation.mask_name, annotation.segments))
    return PanopticAnnotations(path, dict(found.images), tuple(annotations), found.categories)


def _counted_labels(found: PartialAnnotations, known: CategoryTable) -> str:
    """Say that category ids seem to be labels from 0 on, if some are unknown and none exceeds the number of classes."""
    used = {segment.category_id for entry in found.annotations.values() for segment in entry.segments or ()}
    if all(category_id in known for category_id in used) or not used <= set(range(len(known))):
        return ""
    ids = sorted(category.id for category in known)
    return (
        f"the category ids are {min(used)} to {max(used)}, so they seem to be a network's labels, which count the "
        f"{len(ids)} classes from 0; their ids are {shown_ids(ids, 5)}: write those"
    )


def unpaired_entries(
    where: str, images: Mapping[ImageId, ImageEntry], masks: Mapping[ImageId, str | None]
) -> Iterator[JsonIssue]:
    """Yield an issue for each image without annotation or the reverse, and for each PNG of several annotations.

    `masks` are the names of PNGs, None if one cannot be read. If images and annotations have ids of different types,
    that is the only issue.
    """
    if mixture := two_types((*images, *masks)):
        different = f"image ids of two types, {mixture}, in 'images' and 'annotations'"
        yield JsonIssue("json-field", where, different, "write them alike, as integers or as text")
        return
    for image_id, image in images.items():
        if image_id not in masks:
            hint = "add its annotation, or remove it from 'images'"
            unannotated = f"image id {image_id} ({image.file_name}) has no annotation"
            yield JsonIssue("image-unannotated", where, unannotated, hint, image_id)
    owners: dict[str, ImageId] = {}
    for image_id, mask in masks.items():
        if image_id not in images:
            hint = "add the image there, or remove the annotation"
            undeclared = f"annotated image id {image_id}: not in 'images'"
            yield JsonIssue("image-undeclared", where, undeclared, hint, image_id)
        if mask is not None and owners.setdefault(mask, image_id) != image_id:
            shared = f"the PNG '{mask}' belongs to image ids {owners[mask]} and {image_id}"
            yield JsonIssue("png-shared", where, shared, "give each image its own PNG", image_id)


def check_drawn(drawn: Set[int], annotation: Annotation, where: str) -> None:
    """Raise `DatasetError` unless the ids found in the PNG `where` are exactly those listed for it (and void)."""
    drawn = drawn - {VOID}
    listed = {segment.id for segment in annotation.segments}
    image = f"(image id {annotation.image_id})"
    if drawn != listed == set(map(_exchange_red_and_blue, drawn)):
        raise DatasetError(
            f"{where}: red and blue are exchanged {image}, as OpenCV's order of channels is BGR; save it as RGB with "
            "id = R + 256 G + 65536 B"
        )
    for ids, found, hint in (
        (drawn - listed, "drawn but not listed in 'segments_info'", "list the segment or paint it void (0)"),
        (listed - drawn, "listed in 'segments_info' but not drawn", "draw the segment or remove it from the list"),
    ):
        if ids:
            noun, verb = ("id", "is") if len(ids) == 1 else ("ids", "are")
            raise DatasetError(f"{where}: {noun} {shown_ids(sorted(ids), 5)} {verb} {found} {image}; {hint}")


def _exchange_red_and_blue(segment_id: int) -> int:
    return (segment_id & 0xFF) << 16 | segment_id & 0xFF00 | segment_id >> 16
