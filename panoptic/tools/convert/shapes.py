"""Shapes of annotation tools as masks: polygons filled as COCO does, circles, and small masks at an offset."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from panoptic.instances.rle import Rle, fill_polygons
from panoptic.io.errors import DatasetError

Point = tuple[float, float]


def polygons_mask(polygons: Sequence[Sequence[Point]], height: int, width: int, where: str) -> Rle:
    """Fill polygons of at least 3 points (x, y) each and return their union, cropped to the image.

    Raises `DatasetError` for a polygon with fewer points, or one that `fill_polygons` refuses.
    """
    for points in polygons:
        if len(points) < 3:
            raise DatasetError(f"{where}: a polygon of {len(points)} points has no area; draw 3 or more, or remove it")
    flat = [[coordinate for point in points for coordinate in point] for points in polygons]
    return fill_polygons(flat, height, width, where)


def circle_mask(center: Point, rim: Point, height: int, width: int) -> Rle:
    """Mask the pixels whose centers are no farther from `center` than the point `rim`."""
    rows, columns = np.ogrid[:height, :width]
    squares = (columns + 0.5 - center[0]) ** 2 + (rows + 0.5 - center[1]) ** 2
    return _encode(squares <= (rim[0] - center[0]) ** 2 + (rim[1] - center[1]) ** 2)


def paste_mask(mask: NDArray[np.bool_], left: int, top: int, height: int, width: int) -> Rle:
    """Paste a small (h,w) mask into an image of (height, width), cropped to the image."""
    whole = np.zeros((height, width), np.bool_)
    inside = mask[max(-top, 0) : max(height - top, 0), max(-left, 0) : max(width - left, 0)]
    rows, columns = inside.shape
    whole[max(top, 0) : max(top, 0) + rows, max(left, 0) : max(left, 0) + columns] = inside
    return _encode(whole)


def union(masks: Sequence[Rle]) -> Rle:
    """Return the union of masks."""
    return masks[0] if len(masks) == 1 else coco_mask.merge(list(masks))


def _encode(mask: NDArray[np.bool_]) -> Rle:
    return coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
