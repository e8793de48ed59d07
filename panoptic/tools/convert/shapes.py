"""Shapes of annotation tools as masks: polygons as COCO fills them, circles, and small masks at a place."""

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from panoptic.instances.rle import Rle
from panoptic.io.errors import DatasetError

Point = tuple[float, float]


def polygons_mask(polygons: Sequence[Sequence[Point]], height: int, width: int, where: str) -> Rle:
    """The mask of polygons, of which each has 3 points (x, y) or more, together.

    What lies outside the image is cut off. Raises `DatasetError` for a polygon with fewer points, or one that
    reaches further from the image than its own size, as it does where the points are those of another image.
    """
    for points in polygons:
        if len(points) < 3:
            raise DatasetError(f"{where}: a polygon of {len(points)} points has no area; draw 3 or more, or remove it")
        for x, y in points:
            if not (-width <= x <= 2 * width and -height <= y <= 2 * height):
                message = f"the point ({x:g}, {y:g}) is far outside the image of {width} x {height} (width x height)"
                raise DatasetError(f"{where}: {message}; draw the shape again")
    flat = [[coordinate for point in points for coordinate in point] for points in polygons]
    # What is written of its types knows whole numbers only.
    return coco_mask.merge(coco_mask.frPyObjects(cast("list[list[int]]", flat), height, width))


def circle_mask(center: Point, rim: Point, height: int, width: int) -> Rle:
    """The pixels whose middle is no further from the center than a point of the rim is."""
    rows, columns = np.ogrid[:height, :width]
    squares = (columns + 0.5 - center[0]) ** 2 + (rows + 0.5 - center[1]) ** 2
    return encode(squares <= (rim[0] - center[0]) ** 2 + (rim[1] - center[1]) ** 2)


def placed_mask(mask: NDArray[np.bool_], left: int, top: int, height: int, width: int) -> Rle:
    """A small (h,w) mask in an image of (height, width); what lies outside the image is cut off."""
    whole = np.zeros((height, width), np.bool_)
    inside = mask[max(-top, 0) : max(height - top, 0), max(-left, 0) : max(width - left, 0)]
    rows, columns = inside.shape
    whole[max(top, 0) : max(top, 0) + rows, max(left, 0) : max(left, 0) + columns] = inside
    return encode(whole)


def union(masks: Sequence[Rle]) -> Rle:
    """The pixels of any of the masks."""
    return masks[0] if len(masks) == 1 else coco_mask.merge(list(masks))


def encode(mask: NDArray[np.bool_]) -> Rle:
    """An (H,W) mask as run lengths."""
    return coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
