"""The summary of a dataset: sizes, segments, instances of each class, fractions of void and crowd.

It is counted image by image, and no segments are kept, so that a hundred thousand images take a few megabytes.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from panoptic.tools.check.image import DrawnSegment, Inspected

# COCO's limits, in pixels: small up to 32 x 32, large from 96 x 96.
SMALL_AREA, LARGE_AREA = 32**2, 96**2
# LVIS (Gupta et al., CVPR 2019) calls a class rare if it occurs in at most ten images.
RARE_IMAGES = 10


@dataclass
class AreaCounts:
    """Counts of segments by area, without crowd regions."""

    small: int = 0
    medium: int = 0
    large: int = 0

    def add(self, area: int) -> None:
        if area < SMALL_AREA:
            self.small += 1
        elif area < LARGE_AREA:
            self.medium += 1
        else:
            self.large += 1


@dataclass
class ClassCounts:
    """Counts of one class in one split: instances, crowd regions, images that it occurs in, and areas.

    `alone` counts images with a single instance of it and no crowd, `wide` those of them in which it spans the image.
    """

    instances: int = 0
    crowds: int = 0
    images: int = 0
    alone: int = 0
    wide: int = 0
    areas: AreaCounts = field(default_factory=AreaCounts)

    def add(self, segments: Sequence[DrawnSegment]) -> None:
        """Add the segments of this class in one image."""
        instances = [segment for segment in segments if not segment.is_crowd]
        self.instances += len(instances)
        self.crowds += len(segments) - len(instances)
        self.images += 1
        if len(segments) == len(instances) == 1:
            self.alone += 1
            self.wide += instances[0].spans
        for segment in instances:
            self.areas.add(segment.area)


@dataclass
class SplitSummary:
    """Counts over the images of a split. Pixels are those of images whose PNG could be read.

    `stuff_ids` are the stuff categories; `things` and `stuff` count the segments of each image, without crowd regions.
    """

    split: str
    stuff_ids: frozenset[int] = frozenset()
    images: int = 0
    heights: "array[int]" = field(default_factory=lambda: array("q"))
    widths: "array[int]" = field(default_factory=lambda: array("q"))
    segments: "array[int]" = field(default_factory=lambda: array("q"))
    things: "array[int]" = field(default_factory=lambda: array("q"))
    stuff: "array[int]" = field(default_factory=lambda: array("q"))
    pixels: int = 0
    void_pixels: int = 0
    crowd_pixels: int = 0
    void_images: int = 0
    areas: AreaCounts = field(default_factory=AreaCounts)
    classes: dict[int, ClassCounts] = field(default_factory=dict)

    def add(self, inspected: Inspected) -> None:
        self.images += 1
        if inspected.height and inspected.width:
            self.heights.append(inspected.height)
            self.widths.append(inspected.width)
        if inspected.void is None:
            return
        self.segments.append(len(inspected.segments))
        is_stuff = [segment.category_id in self.stuff_ids for segment in inspected.segments if not segment.is_crowd]
        self.things.append(len(is_stuff) - sum(is_stuff))
        self.stuff.append(sum(is_stuff))
        self.pixels += inspected.height * inspected.width
        self.void_pixels += inspected.void
        self.void_images += not inspected.segments
        by_class: dict[int, list[DrawnSegment]] = {}
        for segment in inspected.segments:
            by_class.setdefault(segment.category_id, []).append(segment)
            if segment.is_crowd:
                self.crowd_pixels += segment.area
            else:
                self.areas.add(segment.area)
        for category_id, segments in by_class.items():
            self.classes.setdefault(category_id, ClassCounts()).add(segments)

    def counts_of(self, category_id: int) -> ClassCounts:
        """The counts of a class, all zero if it does not occur."""
        return self.classes.get(category_id, ClassCounts())

    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Smallest, median and largest (height, width) by number of pixels; empty if no size is known."""
        sizes = sorted(zip(self.heights, self.widths, strict=True), key=lambda size: (size[0] * size[1], size))
        return (sizes[0], sizes[len(sizes) // 2], sizes[-1]) if sizes else ()

    def segments_per_image(self) -> tuple[int, ...]:
        """Minimum, median and maximum; empty if no PNG could be read."""
        counts = sorted(self.segments)
        return (counts[0], counts[len(counts) // 2], counts[-1]) if counts else ()

    @property
    def void_fraction(self) -> float:
        """Fraction of the pixels that belong to no listed segment."""
        return self.void_pixels / self.pixels if self.pixels else 0.0

    @property
    def crowd_fraction(self) -> float:
        return self.crowd_pixels / self.pixels if self.pixels else 0.0


def rare_classes(summaries: Iterable[SplitSummary]) -> frozenset[int]:
    """Ids of the classes that occur, but in few images of all splits together."""
    images: Counter[int] = Counter()
    for summary in summaries:
        images.update({key: counts.images for key, counts in summary.classes.items()})
    return frozenset(key for key, count in images.items() if count <= RARE_IMAGES)
