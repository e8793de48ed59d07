"""Super-categories as classes: fewer and more frequent ones, for small datasets.

A class has the name of its super-category, and the id and color of the first of its categories. Things and stuff of one
super-category stay two classes of one name. Things keep their segments. Stuff has one segment per class in an image,
and so have crowds: those that now share a class are joined under the id of the one that is listed first, and panoptic
PNGs are drawn anew.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from panoptic.datasets.coco import ImageSource, VerifiedImage
from panoptic.format.categories import Category, CategoryTable
from panoptic.format.id_map import VOID, encode_id_map
from panoptic.format.segments import Segment
from panoptic.io.errors import DatasetError, shown_ids
from panoptic.io.names import normal_text


def with_supercategories(sources: Mapping[str, ImageSource], where: str) -> dict[str, ImageSource]:
    """Make super-categories the classes of all splits of a dataset, whose categories have the same ids.

    Raises `DatasetError` for a category without super-category, or with another one in another split.
    """
    classes = {role: supercategory_classes(source.categories, where) for role, source in sources.items()}
    (first, expected), *others = (
        (role, CategoryTable.of(replace(one, name=classes[role][one.id].name) for one in source.categories))
        for role, source in sources.items()
    )
    for role, found in others:
        expected.require_same(found, f"{where}: super-categories of {role}", first)
    return {role: _regrouped(source, classes[role]) for role, source in sources.items()}


def supercategory_classes(categories: CategoryTable, where: str) -> dict[int, Category]:
    """Make the class that takes the place of each category, by its id. Raises `DatasetError` like the above."""
    nameless = [f"id {category.id} '{category.name}'" for category in categories if not category.supercategory.strip()]
    if nameless:
        message = f"{len(nameless)} of {len(categories)} categories have no super-category ({shown_ids(nameless, 3)})"
        hint = "give each a 'supercategory' in the JSON, or set annotate.categories to original"
        raise DatasetError(f"{where}: {message}; {hint}")
    by_name: dict[tuple[str, bool], Category] = {}
    classes: dict[int, Category] = {}
    for category in categories:
        name = normal_text(category.supercategory)
        first = replace(category, name=name, supercategory=name)
        classes[category.id] = by_name.setdefault((name, category.is_thing), first)
    return classes


def _regrouped(source: ImageSource, classes: Mapping[int, Category]) -> ImageSource:
    verifiers = [partial(_verify_joined, verify, classes) for verify in source.verifiers]
    table = CategoryTable.of(frozenset(classes.values()))
    # Instances of the dataset's own have its categories; those of the segments take their place.
    return replace(source, categories=table, masks=None, verifiers=verifiers, instances=None)


def _verify_joined(verify: Callable[[], VerifiedImage], classes: Mapping[int, Category]) -> VerifiedImage:
    """Verify an image, give its segments their classes, and join those of which an image has only one per class."""
    image = verify()
    ids = image.ids.copy()
    joined: dict[tuple[int, bool, int], Segment] = {}
    for original in image.record.segments:
        category = classes[original.category_id]
        segment = replace(original, category_id=category.id)
        is_countable = category.is_thing and not segment.is_crowd
        key = (category.id, segment.is_crowd, segment.id if is_countable else VOID)
        first = joined.setdefault(key, segment)
        if first is not segment:
            joined[key] = replace(
                first, area=first.area + segment.area, box_xywh=_around(first.box_xywh, segment.box_xywh)
            )
            left, top, width, height = segment.box_xywh
            window = ids[top : top + height, left : left + width]
            window[window == segment.id] = first.id
    record = replace(image.record, segments=tuple(joined.values()))
    return VerifiedImage(record, ids, encode_id_map(ids))


def _around(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """The tightest box around two (left, top, width, height)."""
    left, top = min(one[0], other[0]), min(one[1], other[1])
    right, bottom = (max(one[axis] + one[axis + 2], other[axis] + other[axis + 2]) for axis in (0, 1))
    return left, top, right - left, bottom - top
