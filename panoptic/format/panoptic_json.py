"""The rules of COCO's panoptic JSON, in one scan that reports every issue and returns everything that can be read.

`panoptic.format.annotations` refuses a JSON with an issue, `panoptic.tools.check` lists them all; their verdicts agree.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeGuard, TypeVar

from panoptic.format.categories import Category, CategoryTable
from panoptic.format.id_map import MAX_ID, VOID
from panoptic.format.image_id import ImageId, two_types
from panoptic.format.segments import AnnotatedSegment
from panoptic.io.json_fields import FieldError, JsonObject, is_number

A = TypeVar("A")
T = TypeVar("T")
LONGEST_SIDE = (1 << 31) - 1  # pixels; the headers of image files hold no more
NO_CATEGORY = -1  # of a segment whose category cannot be read


@dataclass(frozen=True, slots=True)
class JsonIssue:
    """One issue of a panoptic JSON; `type` is one of `panoptic.tools.check.issues`."""

    type: str
    where: str
    found: str
    hint: str
    image_id: ImageId | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.found}; {self.hint}"


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """An image as the JSON lists it; sizes in pixels."""

    id: ImageId
    file_name: str
    height: int
    width: int

    @classmethod
    def from_json(cls, entry: JsonObject) -> "ImageEntry":
        """Read an entry of COCO's `images` list. Raises `FieldError` for a missing or wrong field."""
        image = cls(entry.identifier("id"), entry.file_name(), entry.integer("height"), entry.integer("width"))
        if min(image.height, image.width) < 1 or max(image.height, image.width) > LONGEST_SIDE:
            found = f"the size is {image.height} x {image.width} (height x width)"
            raise FieldError(entry.where, found, "correct it")
        return image


@dataclass(frozen=True, slots=True)
class PartialAnnotation:
    """Name of the PNG and segments of one image; each is None if it cannot be read."""

    mask_name: str | None
    segments: tuple[AnnotatedSegment, ...] | None


@dataclass(frozen=True)
class PartialAnnotations:
    """Everything that could be read of a panoptic JSON, by image id; `categories` is None if there are none."""

    images: Mapping[ImageId, ImageEntry]
    annotations: Mapping[ImageId, PartialAnnotation]
    categories: CategoryTable | None


def scan_annotations(
    document: JsonObject,
    report: Callable[[JsonIssue], object],
    known: CategoryTable | None = None,
    with_extents: bool = False,
) -> PartialAnnotations:
    """Read what can be read of a panoptic JSON, and `report` each issue. Nothing in the JSON raises an error.

    Issues are a missing or wrong field, a category, image, annotation or segment listed twice, a segment id that
    cannot be drawn, an unknown category, and no annotation at all (which results, read with `known`, may lack).
    `with_extents` also reads the boxes of segments, and reports claims about extents that are not numbers.
    """
    return _Scan(report, with_extents).read(document, known)


@dataclass
class _Scan:
    """One pass over a panoptic JSON; `table` has the categories that segments may have, or None if unknown."""

    report: Callable[[JsonIssue], object]
    with_extents: bool
    table: CategoryTable | None = None

    def read(self, document: JsonObject, known: CategoryTable | None) -> PartialAnnotations:
        categories = self._categories(document) if known is None or document.has("categories") else None
        self.table = categories or known
        images = self._images(document) if document.has("images") else {}
        annotations = self._annotations(document)
        for key, image_ids in (("images", images), ("annotations", annotations)):
            if mixture := two_types(image_ids):
                found = f"image ids of two types, {mixture}"
                self._add(
                    "json-field", f"{document.where}: {key}", found, "write all of them as integers, or all as text"
                )
        if not annotations and known is None:
            found = "there are no annotations" if "annotations" in document.values else "no image is annotated"
            self._add("no-annotations", document.where, found, "add at least one image")
        return PartialAnnotations(images, annotations, categories)

    def _categories(self, document: JsonObject) -> CategoryTable | None:
        """The table of the sound categories; of those that share an id, the first."""
        kept: dict[int, Category] = {}
        for entry in self._objects(document, "categories"):
            category = self._attempt(Category.from_json, entry)
            if category is not None and (other := kept.setdefault(category.id, category)) is not category:
                both = f"category id {category.id}: '{other.name}' and '{category.name}'"
                self._add("category-twice", entry.where, both, "give each category its own id")
        if document.values.get("categories") == []:
            self._add("json-field", document.where, "the category list is empty", "list at least one category")
        return CategoryTable.of(kept.values()) if kept else None

    def _images(self, document: JsonObject) -> dict[ImageId, ImageEntry]:
        images: dict[ImageId, ImageEntry] = {}
        for entry in self._objects(document, "images"):
            image = self._attempt(ImageEntry.from_json, entry)
            if image is not None and images.setdefault(image.id, image) is not image:
                self._add("image-id-twice", entry.where, f"image id {image.id} is listed twice", "remove one", image.id)
        return images

    def _annotations(self, document: JsonObject) -> dict[ImageId, PartialAnnotation]:
        annotations: dict[ImageId, PartialAnnotation] = {}
        for entry in self._objects(document, "annotations"):
            image_id = self._attempt(entry.identifier, "image_id")
            if image_id is None:
                continue
            if image_id in annotations:
                twice = f"image id {image_id} is annotated twice"
                self._add("image-id-twice", entry.where, twice, "remove one", image_id)
                continue
            mask_name = self._attempt(entry.file_name, "file_name", image_id)
            segments = self._segments(entry, image_id)
            is_list = isinstance(entry.values.get("segments_info"), list)
            annotations[image_id] = PartialAnnotation(mask_name, segments if is_list else None)
        return annotations

    def _segments(self, entry: JsonObject, image_id: ImageId) -> tuple[AnnotatedSegment, ...]:
        segments: dict[int, AnnotatedSegment] = {}
        for info in self._objects(entry, "segments_info", image_id):
            segment_id = self._attempt(info.integer, "id", image_id)
            if segment_id is None:
                continue
            if not VOID < segment_id <= MAX_ID:
                hint = f"use 1..{MAX_ID}: 0 is void, and a PNG holds no more"
                self._add("segment-id", info.where, f"segment id {segment_id} cannot be drawn", hint, image_id)
            elif segment_id in segments:
                twice = f"segment id {segment_id} is listed twice"
                self._add("segment-twice", info.where, twice, "remove one", image_id)
            else:
                segments[segment_id] = self._segment(info, segment_id, image_id)
        return tuple(segments.values())

    def _segment(self, info: JsonObject, segment_id: int, image_id: ImageId) -> AnnotatedSegment:
        """The segment with what can be read of it, or else its pixels would count as drawn but not listed."""
        category_id = self._attempt(info.integer, "category_id", image_id)
        if category_id is not None and self.table is not None and category_id not in self.table:
            unknown = f"segment {segment_id} has the unknown category {category_id}"
            self._add("unknown-category", info.where, unknown, "correct it or add it to 'categories'", image_id)
        crowd = info.has("iscrowd") and self._attempt(info.flag, "iscrowd", image_id)
        # By default no score depends on the claimed area, so that one that is not a whole number counts as missing.
        area, box = info.values.get("area"), info.values.get("bbox")
        whole = int(area) if is_number(area) and float(area).is_integer() else None
        if self.with_extents:
            if area is not None and whole is None:
                self._add_claim("area-differs", info.where, f"'area' is {area!r:.60}, not a whole number", image_id)
            if box is not None and not _is_box(box):
                self._add_claim("box-differs", info.where, f"'bbox' is {box!r:.60}, not four numbers", image_id)
        known_id = NO_CATEGORY if category_id is None else category_id
        kept_box = tuple(box) if self.with_extents and _is_box(box) else None
        score = info.values.get("score")
        known_score = float(score) if is_number(score) else None
        return AnnotatedSegment(segment_id, known_id, bool(crowd), whole, kept_box, known_score)

    def _objects(self, document: JsonObject, key: str, image_id: ImageId | None = None) -> Iterator[JsonObject]:
        """Yield each object of a list, and report every item that is not an object."""
        try:
            for item in document.items(key):
                if isinstance(item, FieldError):
                    self._add_field(item, image_id)
                else:
                    yield item
        except FieldError as error:
            self._add_field(error, image_id)

    def _attempt(self, read: Callable[[A], T], argument: A, image_id: ImageId | None = None) -> T | None:
        """Return the result of `read`, or report a wrong field and return None."""
        try:
            return read(argument)
        except FieldError as error:
            self._add_field(error, image_id)
            return None

    def _add_claim(self, issue_type: str, where: str, found: str, image_id: ImageId) -> None:
        self._add(issue_type, where, found, "correct it or leave it out", image_id)

    def _add_field(self, error: FieldError, image_id: ImageId | None) -> None:
        self._add("json-field", error.where, error.found, error.hint, image_id)

    def _add(self, issue_type: str, where: str, found: str, hint: str, image_id: ImageId | None = None) -> None:
        self.report(JsonIssue(issue_type, where, found, hint, image_id))


def _is_box(value: object) -> TypeGuard[list[float]]:
    return isinstance(value, list) and len(value) == 4 and all(map(is_number, value))
