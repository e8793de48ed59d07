"""Placing the names of segments, the most important first, so that none covers another."""

from collections.abc import Iterator
from math import hypot

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic.format.categories import CategoryTable
from panoptic.format.results import ResultSegment
from panoptic.format.segments import Extent, measure_segments
from panoptic.visualization.labels import Label, Lettering, PlateBox
from panoptic.visualization.regions import Regions

# Part of the image that plates may cover, and how many are led by a line.
_MOST_COVERED, _MOST_LED = 0.18, 6
# Lines clutter small images: there is one for so many letters' squares of the image.
_LETTERS_BY_LINE = 320
# A plate that would hide more of its segment than this stands beside it.
_MOST_HIDDEN = 0.75
# Things smaller than this part of a letter's square stay without a name.
_LEAST_AREA = 0.8
# Things are named before stuff of up to so many times their area.
_THING_WEIGHT = 4
_MOST_TRIED = 200
# Where plates stand beside a segment: toward which side, and how many times as far as next to it.
_DIRECTIONS = ((0, -1), (0, 1), (1, -0.6), (-1, -0.6), (1, 0.6), (-1, 0.6), (1, 0), (-1, 0))
_REACHES = (1.0, 1.5)


def place_labels(regions: Regions, categories: CategoryTable, lettering: Lettering) -> list[Label]:
    """Place the labels of an image. Segments without room for their name have none."""
    return list(_Placing(regions, categories, lettering).labels())


class _Placing:
    """The labels placed so far, and what tells where there is room for more.

    Room is looked for on a grid that is fine in proportion to plates, so its cost does not grow with the image.
    """

    def __init__(self, regions: Regions, categories: CategoryTable, lettering: Lettering) -> None:
        self._lettering, self._segments, self._numbers = lettering, regions.segments, regions.numbers
        self._height, self._width = regions.numbers.shape
        self._is_thing = np.array(
            [False, *(categories.by_id(segment.category_id).is_thing for segment in regions.segments)]
        )
        self._step_y = max(1, lettering.plate_height // 4)
        self._step_x = 2 * self._step_y
        self._cells = regions.numbers[self._step_y // 2 :: self._step_y, self._step_x // 2 :: self._step_x]
        self._extents = measure_segments(regions.numbers)
        # Plates, and the points that lines lead to: left, top, right, bottom.
        self._taken: list[tuple[int, int, int, int]] = []

    def labels(self) -> Iterator[Label]:
        area = self._height * self._width
        room, lines = _MOST_COVERED * area, min(_MOST_LED, int(area / self._lettering.font.size**2 / _LETTERS_BY_LINE))
        for number in sorted(self._extents, key=self._importance, reverse=True):
            segment = self._segments[number - 1]
            width, height = self._lettering.plate_width(segment.id), self._lettering.plate_height
            if width * height > room or width > self._width or height > self._height:
                continue
            point, box = None, self._inside(number, width, height)
            if box is None and lines and self._is_named(number):
                point = self._point_of(number)
                box = self._beside(number, point, width, height)
            if box is None:
                continue
            lines -= point is not None
            room -= width * height
            self._taken.append((box.left, box.top, box.right, box.bottom))
            if point:
                self._taken.append((*point, point[0] + 1, point[1] + 1))
            yield Label(segment.id, self._lettering.texts[segment.id], box, point)

    def _importance(self, number: int) -> tuple[float, int]:
        segment = self._segments[number - 1]
        score = segment.score if isinstance(segment, ResultSegment) and segment.score is not None else 1.0
        return (_THING_WEIGHT if self._is_thing[number] else 1) * self._extents[number].area * score, -number

    def _is_named(self, number: int) -> bool:
        """Tell whether a segment without room inside is worth a line."""
        least = _LEAST_AREA * self._lettering.font.size**2
        return bool(self._is_thing[number]) and self._extents[number].area >= least

    def _inside(self, number: int, width: int, height: int) -> PlateBox | None:
        """Place a plate where its segment is widest, unless it would hide the segment, or cover others."""
        extent = self._extents[number]
        if width * height > _MOST_HIDDEN * extent.area:
            return None
        left, top, right, bottom = self._cell_box(extent)
        mask = np.pad(self._cells[top:bottom, left:right] == number, 1).astype(np.uint8)
        # Squares of cells are rectangles of the image, of about the shape of a plate.
        depth = cv2.distanceTransform(mask, cv2.DIST_C, 3)[1:-1, 1:-1]
        # Where a segment is much narrower, its plate would be on others.
        ys, xs = np.nonzero(depth > depth.max() / 3)
        if not len(ys):
            return None
        # Of places that are equally wide, the most central one.
        off_center = np.hypot(xs - xs.mean(), ys - ys.mean())
        order = np.argsort(0.05 * off_center - depth[ys, xs], kind="stable")
        order = order[:: max(1, len(order) // _MOST_TRIED)]
        x = (xs[order] + left) * self._step_x + self._step_x // 2
        y = (ys[order] + top) * self._step_y + self._step_y // 2
        return next(self._free_boxes(x, y, width, height), None)

    def _beside(self, number: int, point: tuple[int, int], width: int, height: int) -> PlateBox | None:
        """Place a plate beside its segment, as near as possible and over few things."""
        left, top, box_width, box_height = self._extents[number].box_xywh
        reaches, gap = np.repeat(_REACHES, len(_DIRECTIONS)), height // 2
        directions = np.tile(np.array(_DIRECTIONS), (len(_REACHES), 1))
        x = left + box_width / 2 + directions[:, 0] * reaches * ((box_width + width) / 2 + gap)
        y = top + box_height / 2 + directions[:, 1] * reaches * ((box_height + height) / 2 + gap)
        free = self._free_boxes(x.astype(np.int64), y.astype(np.int64), width, height)
        beside = [box for box in free if not box.contains(point)]
        return min(beside, key=lambda box: self._cost(box, point), default=None)

    def _cost(self, box: PlateBox, point: tuple[int, int]) -> float:
        """Rate a place by its distance from the point, in plates, and by the fraction of it that would hide things."""
        x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
        return hypot(x - point[0], y - point[1]) / self._lettering.plate_height + 3 * self._things_below(box)

    def _things_below(self, box: PlateBox) -> float:
        """Return the fraction of a plate that would hide things."""
        step = max(1, self._step_y // 2)
        return float(
            self._is_thing.take(self._numbers[box.top : box.bottom : step, box.left : box.right : step]).mean()
        )

    def _point_of(self, number: int) -> tuple[int, int]:
        """Find the innermost point of a segment."""
        left, top, width, height = self._extents[number].box_xywh
        mask = np.pad(self._numbers[top : top + height, left : left + width] == number, 1).astype(np.uint8)
        depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)[1:-1, 1:-1]
        y, x = divmod(int(depth.argmax()), width)
        return left + x, top + y

    def _free_boxes(self, x: NDArray[np.int64], y: NDArray[np.int64], width: int, height: int) -> Iterator[PlateBox]:
        """Yield plates around points, moved into the image, except those that would cover another."""
        gap = max(1, self._lettering.padding // 3)
        lefts = np.clip(x - width // 2, 0, self._width - width)[:, None]
        tops = np.clip(y - height // 2, 0, self._height - height)[:, None]
        left, top, right, bottom = np.array(self._taken, np.int64).reshape(-1, 4).T
        across = (lefts < right + gap) & (left < lefts + width + gap)
        down = (tops < bottom + gap) & (top < tops + height + gap)
        for place in np.flatnonzero(~(across & down).any(axis=1)).tolist():
            left_most, top_most = int(lefts[place, 0]), int(tops[place, 0])
            yield PlateBox(left_most, top_most, left_most + width, top_most + height)

    def _cell_box(self, extent: Extent) -> tuple[int, int, int, int]:
        left, top, width, height = extent.box_xywh
        right, bottom = left + width, top + height
        return left // self._step_x, top // self._step_y, right // self._step_x + 1, bottom // self._step_y + 1
