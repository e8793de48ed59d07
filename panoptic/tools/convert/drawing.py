"""Draw annotated regions, which may overlap, into an id map, in which every pixel belongs to one segment.

From bottom to top: the semantic map, regions of stuff, crowds, instances, void. Within a layer the smaller region
covers the larger (a cup on the table on which it stands), or the later in the file covers the earlier. All stuff of
a class is one segment.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from panoptic.format.categories import Category, CategoryTable
from panoptic.format.id_map import MAX_ID, VOID
from panoptic.format.image_id import ImageId
from panoptic.format.segments import Segment, measure_segments
from panoptic.instances.rle import Rle
from panoptic.tools.convert.choices import SMALLER
from panoptic.tools.convert.images import ImageFile

NO_LABEL = -1  # of pixels without a class; no category id can say that, because a table may use every number

# Coprime to MAX_ID, so that ids neither repeat nor are 0; consecutive numbers get very different colors.
_ID_STEP = 10_368_889
WITHOUT_AREA = "points and lines left out, which have no area"
_UNCOVERED = "things in semantic PNGs that no instance covers, whose pixels are void"
_HIDDEN = "regions completely hidden, of which no pixel is left"


@dataclass(frozen=True)
class Note:
    """Something to tell the user that is no issue: `what` happened to `where`."""

    what: str
    where: str


@dataclass(frozen=True)
class Region:
    """An annotated region; `category` None is void, `marked_crowd` has a meaning for things only.

    `where` names the region in messages.
    """

    category: Category | None
    mask: Rle
    marked_crowd: bool
    where: str

    @property
    def is_thing(self) -> bool:
        return self.category is not None and self.category.is_thing

    @property
    def is_crowd(self) -> bool:
        return self.is_thing and self.marked_crowd

    @property
    def is_instance(self) -> bool:
        return self.is_thing and not self.marked_crowd


@dataclass(frozen=True)
class AnnotatedImage:
    """The annotation of an image; sizes are in pixels.

    `semantic` holds (H,W) labels of the category table, or `NO_LABEL`. Its things are void unless a region covers them,
    because it does not separate instances.
    """

    image_id: ImageId
    file: ImageFile
    height: int
    width: int
    regions: tuple[Region, ...]
    semantic: NDArray[np.int32] | None
    where: str
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class DrawnImage:
    """An (H,W) id map and its segments; `hidden` of the `instance_pixels` are covered by other instances or void.

    `issues` names every region without a pixel, and every instance and crowd that others hide completely; `notes` names
    what is hidden completely otherwise, by void or as stuff.
    """

    ids: NDArray[np.int32]
    segments: tuple[Segment, ...]
    instance_pixels: int
    hidden: int
    issues: tuple[str, ...]
    notes: tuple[Note, ...]


def draw_image(image: AnnotatedImage, categories: CategoryTable, order: str = SMALLER) -> DrawnImage:
    """Draw the regions of an image over each other; `order` is one of `choices.ORDERS`."""
    areas = [int(coco_mask.area(region.mask)) for region in image.regions]
    # Segments are numbered: first the stuff classes, then all regions, of which only things use their numbers.
    stuff = {category.id: number for number, category in enumerate(categories.stuff, start=1)}
    first_region = 1 + len(stuff)
    owners = [
        VOID if region.category is None else stuff.get(region.category.id, first_region + index)
        for index, region in enumerate(image.regions)
    ]
    mapped = _semantic_numbers(image, categories)
    numbers = mapped.copy()
    for index in _bottom_to_top(image.regions, areas, order):
        numbers[_pixels(image.regions[index])] = owners[index]
    ids_of = np.arange(first_region + len(image.regions)) * _ID_STEP % MAX_ID
    ids = ids_of.astype(np.int32)[numbers]
    extents = measure_segments(ids)
    labels: list[tuple[Category | None, bool]] = [(category, False) for category in categories.stuff]
    labels += [(region.category, region.is_crowd) for region in image.regions]
    segments = tuple(
        Segment(segment_id, category.id, is_crowd, extents[segment_id].area, extents[segment_id].box_xywh)
        for segment_id, (category, is_crowd) in zip(ids_of[1:].tolist(), labels, strict=True)
        if category is not None and segment_id in extents
    )
    visible = [extents[key].area if key in extents else 0 for key in ids_of[first_region:].tolist()]
    instances = [index for index, region in enumerate(image.regions) if region.is_instance]
    hidden = sum(areas[index] - visible[index] for index in instances)
    issues, notes = _findings(image.regions, areas, owners, numbers)
    notes += [*_hidden_in_map(image.where, categories, mapped, numbers), *_uncovered_things(image, categories, numbers)]
    instance_pixels = sum(areas[index] for index in instances)
    return DrawnImage(ids, segments, instance_pixels, hidden, tuple(issues), tuple(notes))


def _semantic_numbers(image: AnnotatedImage, categories: CategoryTable) -> NDArray[np.int32]:
    """Number the stuff of the semantic map from 1 on, (H,W); all else is void. Labels of stuff follow the things'."""
    if image.semantic is None:
        return np.zeros((image.height, image.width), np.int32)
    numbers: NDArray[np.int32] = np.maximum(image.semantic - np.int32(len(categories.things) - 1), VOID)
    return numbers


def _pixels(region: Region) -> NDArray[np.bool_]:
    return coco_mask.decode(region.mask).astype(bool)


def _bottom_to_top(regions: Sequence[Region], areas: Sequence[int], order: str) -> list[int]:
    """Indices of the regions in drawing order."""

    def height(index: int) -> tuple[int, int, int]:
        region = regions[index]
        layer = 3 if region.category is None else 2 if region.is_instance else 1 if region.is_thing else 0
        return layer, -areas[index] if order == SMALLER else 0, index

    return sorted(range(len(regions)), key=height)


def _findings(
    regions: Sequence[Region], areas: Sequence[int], owners: Sequence[int], numbers: NDArray[np.int32]
) -> tuple[list[str], list[Note]]:
    """Find the regions without a pixel, in their mask or among the drawn (H,W) `numbers` of their owners."""
    issues, notes = [], []
    drawn = _drawn(numbers)
    for region, area, owner in zip(regions, areas, owners, strict=True):
        if not area:
            issues.append(f"{region.where}: covers no pixel of the image; draw it again or remove it")
        if not area or region.category is None or (region.is_thing and owner in drawn):
            continue
        shown = numbers[_pixels(region)]
        if region.is_thing and (shown != VOID).all():
            what = f"the {'crowd' if region.is_crowd else 'instance'} of '{region.category.name}'"
            hint = "remove it if it was drawn twice, or try the other --on-top"
            issues.append(f"{region.where}: {what} is completely hidden by others; {hint}")
        elif not (shown == owner).any():
            notes.append(Note(_HIDDEN, region.where))
    return issues, notes


def _drawn(numbers: NDArray[np.int32]) -> set[int]:
    """The numbers that occur; they are small."""
    return set(np.flatnonzero(np.bincount(numbers.reshape(-1))).tolist())


def _hidden_in_map(
    where: str, categories: CategoryTable, mapped: NDArray[np.int32], numbers: NDArray[np.int32]
) -> list[Note]:
    """Note the stuff of the semantic map of which no pixel is left."""
    hidden = sorted(_drawn(mapped) - _drawn(numbers) - {VOID})
    return [Note(_HIDDEN, f"{where}: '{categories.stuff[number - 1].name}' of the semantic map") for number in hidden]


def _uncovered_things(image: AnnotatedImage, categories: CategoryTable, numbers: NDArray[np.int32]) -> list[Note]:
    """Note the things of the semantic map where nothing is drawn; labels of things are the first."""
    if image.semantic is None:
        return []
    labels = image.semantic[(numbers == VOID) & (image.semantic != NO_LABEL)]
    pixels = np.bincount(labels[labels < len(categories.things)], minlength=len(categories.things)).tolist()
    return [
        Note(_UNCOVERED, f"{image.where}: {count} pixels of '{category.name}'")
        for category, count in zip(categories.things, pixels, strict=True)
        if count
    ]
