"""Image ids: integers as in COCO, or texts as in Cityscapes' panoptic format; one dataset has ids of one type.

Ids are compared by equality, as in panopticapi: 1 and '1' are different images.
"""

import hashlib
from collections.abc import Iterable
from urllib.parse import quote

from panoptic.io.errors import DatasetError

ImageId = int | str
_LONGEST_STEM = 100  # characters; file systems end at 255


def image_id_order(image_id: ImageId) -> tuple[bool, ImageId]:
    """Key for sorting ids of any type: integers first."""
    return isinstance(image_id, str), image_id


def two_types(image_ids: Iterable[ImageId]) -> str:
    """Show an integer and a text where both occur among ids, such as `1 and '1'`; empty for ids of one type."""
    examples: dict[type, ImageId] = {}
    for image_id in image_ids:
        examples.setdefault(type(image_id), image_id)
    return " and ".join(map(repr, examples.values())) if len(examples) > 1 else ""


def require_same_type(found: Iterable[ImageId], expected: Iterable[ImageId], where: str, than: str) -> None:
    """Raise `DatasetError` if the ids of `where` are of another type than those of `than`: none would be equal."""
    first, other = next(iter(found), None), next(iter(expected), None)
    if first is not None and other is not None and type(first) is not type(other):
        message = f"image ids are of another type than in {than}: {first!r} here, {other!r} there"
        raise DatasetError(f"{where}: {message}; write them as they are there")


def file_stem(image_id: ImageId) -> str:
    """Name a file after an image; different ids of one type give different names, and none leaves its folder."""
    if isinstance(image_id, int):
        return f"{image_id:012d}"
    # Without "%", which servers of files would decode once more.
    name = quote(image_id, safe="").replace(".", "%2E").replace("%", "=")
    if len(name) <= _LONGEST_STEM:
        return name
    digest = hashlib.sha256(image_id.encode()).hexdigest()[:16]
    return f"{name[: _LONGEST_STEM - 17]}-{digest}"
