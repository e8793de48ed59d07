"""From annotated regions, which may overlap, to an id map, in which every pixel belongs to one segment.

What lies on what: the semantic map at the bottom, then regions of stuff and void, then crowds, then instances. Among
regions of one kind the smaller lies on the larger (a cup on the table that it stands on), or the later in the file on
the earlier. All stuff of a class in an image is one segment.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from panoptic.format.categories import Category, CategoryTable
from panoptic.format.id_map import MAX_ID, VOID
from panoptic.format.segments import Segment, measure_segments
from panoptic.instances.rle import Rle

SMALLER, LATER = "smaller", "later"
ORDERS = (SMALLER, LATER)

# Prime to MAX_ID, so that ids neither repeat nor are 0; neighboring numbers get colors that are far apart.
_ID_STEP = 10_368_889


@dataclass(frozen=True)
class Region:
    """A region as it was annotated; `category` None is void, `where` names it in messages."""

    category: Category | None
    mask: Rle
    is_crowd: bool
    where: str

    @property
    def is_instance(self) -> bool:
        return self.category is not None and self.category.is_thing and not self.is_crowd


@dataclass(frozen=True)
class AnnotatedImage:
    """What a source says of an image; `file_name` is its name below the source's images, sizes are in pixels.

    `semantic` holds (H,W) category ids, VOID where there is none. Its things are void unless a region covers them,
    because it does not tell one from the next.
    """

    image_id: int
    file_name: str
    height: int
    width: int
    regions: tuple[Region, ...]
    semantic: NDArray[np.int32] | None
    where: str


@dataclass(frozen=True)
class DrawnImage:
    """An (H,W) id map and its segments; of the pixels of all instances, `hidden` lie below other instances.

    `issues` names every instance and crowd that has no pixel, or none that is not hidden.
    """

    ids: NDArray[np.int32]
    segments: tuple[Segment, ...]
    instance_pixels: int
    hidden: int
    issues: tuple[str, ...]


def draw_image(image: AnnotatedImage, categories: CategoryTable, order: str = SMALLER) -> DrawnImage:
    """Draw the regions of an image over each other; `order` is one of `ORDERS`."""
    areas = [int(coco_mask.area(region.mask)) for region in image.regions]
    # A segment's number: that of its class for stuff, and one of its own for each region of a thing.
    stuff = {category.id: number for number, category in enumerate(categories.stuff, start=1)}
    numbers = np.zeros((image.height, image.width), np.int32)
    if image.semantic is not None:
        for category_id, number in stuff.items():
            numbers[image.semantic == category_id] = number
    owners: dict[int, Region] = {}
    for place in _bottom_to_top(image.regions, areas, order):
        region = image.regions[place]
        number = VOID
        if region.category is not None:
            number = stuff.get(region.category.id, 1 + len(stuff) + place)
            if region.category.is_thing:
                owners[number] = region
        numbers[coco_mask.decode(region.mask).astype(bool)] = number
    ids_of = [number * _ID_STEP % MAX_ID for number in range(1 + len(stuff) + len(image.regions))]
    ids = np.array(ids_of, np.int32)[numbers]
    extents = measure_segments(ids)
    segments: list[Segment] = []
    hidden = 0
    for number, segment_id in enumerate(ids_of):
        if segment_id in extents:
            extent, owner = extents[segment_id], owners.get(number)
            category = categories.stuff[number - 1] if owner is None else owner.category
            assert category is not None
            is_crowd = owner is not None and owner.is_crowd
            segments.append(Segment(segment_id, category.id, is_crowd, extent.area, extent.box_xywh))
            if owner is not None and owner.is_instance:
                hidden += areas[number - 1 - len(stuff)] - extent.area
    whole = sum(area for area, region in zip(areas, image.regions, strict=True) if region.is_instance)
    empty = [region for area, region in zip(areas, image.regions, strict=True) if not area]
    covered = [region for number, region in owners.items() if ids_of[number] not in extents and region not in empty]
    return DrawnImage(ids, tuple(segments), whole, hidden, _issues(empty, covered))


def _bottom_to_top(regions: Sequence[Region], areas: Sequence[int], order: str) -> list[int]:
    """The places of the regions, in the order in which they are drawn."""

    def height(place: int) -> tuple[int, int, int]:
        region = regions[place]
        layer = 0 if region.category is None or not region.category.is_thing else 2 if region.is_instance else 1
        return layer, -areas[place] if order == SMALLER else 0, place

    return sorted(range(len(regions)), key=height)


def _issues(empty: Sequence[Region], covered: Sequence[Region]) -> tuple[str, ...]:
    issues = [f"{region.where}: covers no pixel of the image; draw it again or remove it" for region in empty]
    for region in covered:
        kind, name = "crowd" if region.is_crowd else "instance", region.category.name if region.category else ""
        message = f"the {kind} of '{name}' is wholly hidden by others; remove it if it was drawn twice"
        issues.append(f"{region.where}: {message}, or try the other --on-top")
    return tuple(issues)
