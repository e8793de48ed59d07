"""Lists without annotations: images, as in COCO's `image_info_test-dev2017.json`, and categories."""

from pathlib import Path

from panoptic.format.categories import CategoryTable
from panoptic.format.image_id import ImageId, two_types
from panoptic.format.panoptic_json import ImageEntry
from panoptic.io.errors import DatasetError, Issues
from panoptic.io.json_fields import JsonObject, load_json, read_json


def read_image_list(path: Path) -> tuple[ImageEntry, ...]:
    """Read a JSON in COCO's format like `parse_image_list`."""
    return parse_image_list(read_json(path))


def parse_image_list(document: JsonObject) -> tuple[ImageEntry, ...]:
    """Return the `images` of a JSON in COCO's format, in its order, and nothing else of it.

    Raises `DatasetError` with every issue found: no image at all, an id or a file name listed twice, a missing or
    wrong field.
    """
    entries: dict[ImageId, ImageEntry] = {}
    owners: dict[str, ImageId] = {}
    issues = Issues()
    for listed in document.objects("images"):
        with issues.collected():
            entry = ImageEntry.from_json(listed)
            if entry.id in entries:
                raise DatasetError(f"{listed.where}: image id {entry.id} is listed twice; remove one")
            entries[entry.id] = entry
            if owners.setdefault(entry.file_name, entry.id) != entry.id:
                both = f"{owners[entry.file_name]} and {entry.id}"
                raise DatasetError(f"{listed.where}: image ids {both} share '{entry.file_name}'; correct one")
    if mixture := two_types(entries):
        issues.add(f"{document.where}: image ids of two types, {mixture}; write all as integers, or all as text")
    issues.raise_if_any(document.where)
    if not entries:
        raise DatasetError(f"{document.where}: 'images' is empty; list at least one image")
    return tuple(entries.values())


def read_categories(path: Path) -> CategoryTable:
    """Read the categories of a JSON in COCO's format, or of one that is the bare list, like panopticapi's."""
    document = load_json(path)
    if isinstance(document, dict):
        if document.get("categories") is None:
            raise DatasetError(f"{path}: the field 'categories' is missing; add the category list")
        document = document["categories"]
    return CategoryTable.from_json(document, str(path))
