"""Reading a panoptic JSON that may be wrong anywhere: each issue is kept, and what is sound is read all the same."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, TypeGuard, TypeVar

from panoptic.format.annotations import ImageEntry
from panoptic.format.categories import Category, CategoryTable
from panoptic.format.id_map import MAX_ID, VOID
from panoptic.format.segments import SegmentLabel
from panoptic.io.errors import DatasetError
from panoptic.io.json_fields import JsonObject, is_number, read_json
from panoptic.tools.check.issues import Issue, shown_items, what_was_found

T = TypeVar("T")
# What the headers of images can say.
LONGEST_SIDE = (1 << 31) - 1
# Where the JSON does not say of which category a segment is.
NO_CATEGORY = -1
# Name of the PNG and segments of an image, each None where it cannot be read.
Annotated: TypeAlias = "tuple[str | None, tuple[ListedSegment, ...] | None]"


@dataclass(frozen=True, slots=True)
class ListedSegment(SegmentLabel):
    """A segment as the JSON lists it. Area and box (left, top, width, height) are its claims; None: none made."""

    area: float | None = None
    box: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class ListedImage:
    """What the JSON says of one image, size in pixels; None: it says nothing, or it cannot be read.

    `file_name` and `mask_name` lie below the split's images and masks. An image that is not in 'images' is 0 x 0.
    """

    image_id: int
    height: int = 0
    width: int = 0
    file_name: str | None = None
    mask_name: str | None = None
    segments: tuple[ListedSegment, ...] | None = None


@dataclass
class Listing:
    """What could be read of a panoptic JSON, and all that is wrong with it."""

    split: str
    path: Path
    categories: CategoryTable | None = None
    images: tuple[ListedImage, ...] = ()
    issues: list[Issue] = field(default_factory=list)

    def add(self, kind: str, where: str, found: str, image_id: int | None = None) -> None:
        self.issues.append(Issue(kind, self.split, where, found, image_id))


def read_listing(split: str, path: Path) -> Listing:
    """Read a panoptic JSON; nothing in it raises an error."""
    listing = Listing(split, path)
    try:
        document = read_json(path)
    except (DatasetError, RecursionError) as error:
        listing.add("json-unreadable", str(path), what_was_found(DatasetError(error), str(path)))
        return listing
    listing.categories = _read_categories(document, listing)
    images = _read_images(document, listing)
    annotated = _read_annotations(document, listing)
    for image_id, image in images.items():
        if image_id not in annotated:
            listing.add("image-unannotated", str(path), f"image id {image_id} ({image.file_name})", image_id)
    for image_id in annotated.keys() - images.keys():
        listing.add("image-undeclared", str(path), f"image id {image_id}", image_id)
    if not annotated:
        listing.add("no-annotations", str(path), "no annotation that can be read")
    listing.images = tuple(
        _listed_image(key, images.get(key), *annotated.get(key, (None, None)))
        for key in sorted(images.keys() | annotated.keys())
    )
    _check_shared(listing)
    return listing


def _listed_image(
    image_id: int, image: ImageEntry | None, mask_name: str | None, segments: tuple[ListedSegment, ...] | None
) -> ListedImage:
    if image is None:
        return ListedImage(image_id, mask_name=mask_name, segments=segments)
    return ListedImage(image_id, image.height, image.width, image.file_name, mask_name, segments)


def _read_categories(document: JsonObject, listing: Listing) -> CategoryTable | None:
    """The table of the sound categories; of those that share an id, the first."""
    kept: dict[int, Category] = {}
    for entry in _objects(document, "categories", listing):
        category = _attempt(_category, entry, listing)
        if category is not None and kept.setdefault(category.id, category) is not category:
            both = f"category id {category.id}: '{kept[category.id].name}' and '{category.name}'"
            listing.add("category-twice", entry.where, both)
    if not kept:
        listing.add("json-field", f"{listing.path}: categories", "no category that can be read")
    for name, count in Counter(category.name for category in kept.values()).items():
        if count > 1:
            ids = [category.id for category in kept.values() if category.name == name]
            listing.add("category-name-twice", f"{listing.path}: categories", f"'{name}': ids {shown_items(ids)}")
    ordered = sorted(kept.values(), key=lambda category: category.id)
    things = tuple(category for category in ordered if category.is_thing)
    return CategoryTable(things, tuple(category for category in ordered if not category.is_thing)) if kept else None


def _category(entry: JsonObject) -> Category:
    try:
        (category,) = CategoryTable.from_json([dict(entry.values)], entry.where)
    except DatasetError as error:
        # The place in the list of one is not that in the file.
        raise DatasetError(str(error).replace(": categories[0]", "", 1)) from None
    return category


def _read_images(document: JsonObject, listing: Listing) -> dict[int, ImageEntry]:
    images: dict[int, ImageEntry] = {}
    for entry in _objects(document, "images", listing):
        image = _attempt(_image, entry, listing)
        if image is not None and image.id in images:
            listing.add("image-id-twice", entry.where, f"image id {image.id} is listed twice", image.id)
        elif image is not None:
            images[image.id] = image
    return images


def _image(entry: JsonObject) -> ImageEntry:
    image = ImageEntry(entry.integer("id"), entry.text("file_name"), entry.integer("height"), entry.integer("width"))
    if min(image.height, image.width) < 1 or max(image.height, image.width) > LONGEST_SIDE:
        raise DatasetError(f"{entry.where}: a size of {image.height} x {image.width} (height x width)")
    return image


def _read_annotations(document: JsonObject, listing: Listing) -> dict[int, Annotated]:
    annotated: dict[int, Annotated] = {}
    for entry in _objects(document, "annotations", listing):
        image_id = _attempt(lambda entry: entry.integer("image_id"), entry, listing)
        if image_id is not None and image_id in annotated:
            listing.add("image-id-twice", entry.where, f"image id {image_id} is annotated twice", image_id)
        elif image_id is not None:
            mask_name = _attempt(lambda entry: entry.text("file_name"), entry, listing, image_id)
            listed = isinstance(entry.values.get("segments_info"), list)
            segments = _read_segments(entry, listing, image_id)
            annotated[image_id] = mask_name, segments if listed else None
    return annotated


def _read_segments(entry: JsonObject, listing: Listing, image_id: int) -> tuple[ListedSegment, ...]:
    segments: dict[int, ListedSegment] = {}
    for info in _objects(entry, "segments_info", listing, image_id):
        segment_id = _attempt(lambda info: info.integer("id"), info, listing, image_id)
        if segment_id is None:
            continue
        if not VOID < segment_id <= MAX_ID:
            listing.add("segment-id", info.where, f"segment id {segment_id}", image_id)
        elif segment_id in segments:
            listing.add("segment-twice", info.where, f"segment id {segment_id}", image_id)
        else:
            segments[segment_id] = _segment(info, segment_id, listing, image_id)
    return tuple(segments.values())


def _segment(info: JsonObject, segment_id: int, listing: Listing, image_id: int) -> ListedSegment:
    """The segment with what can be read of it; otherwise its pixels would count as drawn but unlisted."""
    category_id = _attempt(lambda info: info.integer("category_id"), info, listing, image_id)
    known = category_id is None or listing.categories is None or category_id in listing.categories
    if not known:
        listing.add("unknown-category", info.where, f"segment {segment_id} has category {category_id}", image_id)
    crowd = "iscrowd" in info.values and _attempt(lambda info: info.flag("iscrowd"), info, listing, image_id)
    area, box = info.values.get("area"), info.values.get("bbox")
    if area is not None and not is_number(area):
        listing.add("area-differs", info.where, f"'area' is {area!r:.60}, no number", image_id)
    if box is not None and not _is_box(box):
        listing.add("box-differs", info.where, f"'bbox' is {box!r:.60}, not four numbers", image_id)
    return ListedSegment(
        segment_id,
        NO_CATEGORY if category_id is None else category_id,
        bool(crowd),
        area if is_number(area) else None,
        tuple(box) if _is_box(box) else None,
    )


def _is_box(box: object) -> TypeGuard[list[float]]:
    return isinstance(box, list) and len(box) == 4 and all(map(is_number, box))


def _check_shared(listing: Listing) -> None:
    """No two images may have the same PNG, nor should they have the same image."""
    masks: dict[str, int] = {}
    files: dict[str, int] = {}
    for image in listing.images:
        for kind, name, owners in (
            ("png-shared", image.mask_name, masks),
            ("image-shared", image.file_name, files),
        ):
            if name is not None and owners.setdefault(name, image.image_id) != image.image_id:
                both = f"'{name}' belongs to image ids {owners[name]} and {image.image_id}"
                listing.add(kind, str(listing.path), both, image.image_id)


def _objects(document: JsonObject, key: str, listing: Listing, image_id: int | None = None) -> Iterator[JsonObject]:
    """Each object of a list; what is none is an issue, and the rest is read."""
    items = document.values.get(key)
    if not isinstance(items, list):
        found = f"the field '{key}' is missing" if key not in document.values else f"'{key}' is {items!r:.60}, no list"
        listing.add("json-field", document.where, found, image_id)
        return
    for position, item in enumerate(items):
        where = f"{document.where}: {key}[{position}]"
        if isinstance(item, dict):
            yield JsonObject(item, where)
        else:
            listing.add("json-field", where, f"{item!r:.60}, no object", image_id)


def _attempt(
    read: Callable[[JsonObject], T], entry: JsonObject, listing: Listing, image_id: int | None = None
) -> T | None:
    """What `read` gives, or None and an issue where a field is wrong."""
    try:
        return read(entry)
    except DatasetError as error:
        listing.add("json-field", entry.where, what_was_found(error, entry.where), image_id)
        return None
