"""The panoptic JSON of a split that may be wrong anywhere: every issue is kept, and everything sound is read.

`panoptic.format.panoptic_json` has the rules; only the warnings that concern no other command are here.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from panoptic.format.annotations import unpaired_entries
from panoptic.format.categories import CategoryTable
from panoptic.format.image_id import ImageId, image_id_order
from panoptic.format.panoptic_json import ImageEntry, JsonIssue, PartialAnnotation, scan_annotations
from panoptic.format.segments import AnnotatedSegment
from panoptic.io.errors import DatasetError, shown_ids
from panoptic.io.json_fields import read_json
from panoptic.io.reading import describe_unusable
from panoptic.tools.check.issues import Issue, what_was_found


@dataclass(frozen=True, slots=True)
class JsonImage:
    """An image as the JSON describes it, sizes in pixels; None where it says nothing, or nothing readable.

    `file_name` and `mask_name` are relative to the split's images and masks. An image that is not in 'images' is 0 x 0.
    """

    image_id: ImageId
    height: int = 0
    width: int = 0
    file_name: str | None = None
    mask_name: str | None = None
    segments: tuple[AnnotatedSegment, ...] | None = None


@dataclass
class SplitAnnotations:
    """Everything that could be read of a split's panoptic JSON, and everything that is wrong with it."""

    split: str
    path: Path
    categories: CategoryTable | None = None
    images: tuple[JsonImage, ...] = ()
    issues: list[Issue] = field(default_factory=list)

    def add(self, issue_type: str, where: str, found: str, image_id: ImageId | None = None) -> None:
        self.issues.append(Issue(issue_type, self.split, where, found, image_id))

    def report(self, issue: JsonIssue) -> None:
        self.add(issue.type, issue.where, issue.found, issue.image_id)


def read_split_annotations(split: str, path: Path) -> SplitAnnotations:
    """Read the panoptic JSON of a split; nothing in it raises an error."""
    result = SplitAnnotations(split, path)
    if unusable := describe_unusable(path):
        result.add("json-unreadable", str(path), unusable)
        return result
    try:
        document = read_json(path)
    except DatasetError as error:
        result.add("json-unreadable", str(path), what_was_found(error, str(path)))
        return result
    found = scan_annotations(document, result.report, with_extents=True)
    if not document.has("images"):
        result.add("json-field", str(path), "the field 'images' is missing")
    names = {image_id: annotation.mask_name for image_id, annotation in found.annotations.items()}
    for issue in unpaired_entries(str(path), found.images, names):
        result.report(issue)
    result.categories = found.categories
    result.images = tuple(
        _image(key, found.images.get(key), found.annotations.get(key, PartialAnnotation(None, None)))
        for key in sorted(found.images.keys() | found.annotations.keys(), key=image_id_order)
    )
    _warn_of_shared_names(result)
    return result


def _image(image_id: ImageId, entry: ImageEntry | None, annotation: PartialAnnotation) -> JsonImage:
    if entry is None:
        return JsonImage(image_id, mask_name=annotation.mask_name, segments=annotation.segments)
    size = entry.height, entry.width
    return JsonImage(image_id, *size, entry.file_name, annotation.mask_name, annotation.segments)


def _warn_of_shared_names(result: SplitAnnotations) -> None:
    """Warn of images that name one file, and of categories that share a name."""
    owners: dict[str, ImageId] = {}
    for image in result.images:
        name = image.file_name
        if name is not None and owners.setdefault(name, image.image_id) != image.image_id:
            both = f"'{name}' belongs to image ids {owners[name]} and {image.image_id}"
            result.add("image-shared", str(result.path), both, image.image_id)
    categories = tuple(result.categories or ())
    for name, count in Counter(category.name for category in categories).items():
        if count > 1:
            ids = [category.id for category in categories if category.name == name]
            result.add("category-name-twice", f"{result.path}: categories", f"'{name}': ids {shown_ids(ids, 5)}")
