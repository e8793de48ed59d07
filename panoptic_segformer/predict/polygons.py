"""Masks as polygons that annotation tools can edit, one for each connected part, and filled as COCO fills them.

The corners of a polygon are corners of pixels, so that filling it gives exactly the mask. Its outline is joined with
that of each hole by a line there and back, which fills to nothing under the even-odd rule of COCO, Qt and SVG:
annotation files have no holes.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from scipy.spatial import KDTree

from panoptic.instances.rle import fill_polygons

TOLERANCE = 1.0
"""Pixels that a simplified outline may leave that of the mask; the steps of a slanted line differ by no more."""
_FAITHFUL = 0.9
Ring = NDArray[np.int32]
"""Corners (N, 2), x and y; the last one is joined to the first."""


def mask_polygons(mask: NDArray[np.bool_], tolerance: float = TOLERANCE) -> list[Ring]:
    """Return a polygon for each part of a mask (H, W), largest box first; 0 as tolerance gives exactly the mask.

    Masks whose simplified polygons have another shape, as thin ones may, keep all their corners.
    """
    by_part = _rings_by_part(mask)
    simplified = [_joined([_simplified(ring, tolerance) for ring in rings]) for rings in by_part]
    if tolerance and not _are_faithful(simplified, mask):
        simplified = [_joined(rings) for rings in by_part]
    return sorted(simplified, key=lambda ring: -int(np.ptp(ring, axis=0).prod()))


def _rings_by_part(mask: NDArray[np.bool_]) -> list[list[Ring]]:
    """Group the outlines of a mask, those of holes included, by its connected parts; the outer one comes first."""
    _, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    parts: dict[int, list[Ring]] = {}
    for ring in _rings(mask):
        # The first corner from the top left: of a pixel of the part, or, of a hole, below one.
        x, y = ring[0].tolist()
        parts.setdefault(int(labels[y, x] or labels[y - 1, x]), []).append(ring)
    return list(parts.values())


def _rings(mask: NDArray[np.bool_]) -> list[Ring]:
    """Trace the outlines of a mask in the order of their first corners.

    A corner is where an odd number of the four pixels around are inside; two that touch diagonally make it twice one.
    In each row, the first corner is joined to the second, the third to the fourth, and so on; columns alike.
    """
    padded = np.pad(mask, 1).view(np.uint8)
    quads = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    top_left, top_right, bottom_left, bottom_right = quads
    odd = (top_left + top_right + bottom_left + bottom_right) & 1
    diagonal = (top_left == bottom_right) & (top_right == bottom_left) & (top_left != top_right)
    ys, xs = np.nonzero(odd | diagonal)
    repeats = 1 + diagonal[ys, xs]
    ys, xs = np.repeat(ys, repeats), np.repeat(xs, repeats)
    in_row = _partners(np.arange(len(ys)))
    in_column = _partners(np.lexsort((ys, xs)))
    corners = np.stack([xs, ys], axis=1).astype(np.int32)
    rings, seen = [], [False] * len(corners)
    for start in range(len(corners)):
        if seen[start]:
            continue
        path, corner = [], start
        while not seen[corner]:
            for partner in (in_row, in_column):
                seen[corner] = True
                path.append(corner)
                corner = partner[corner]
        rings.append(corners[path])
    return rings


def _partners(order: NDArray[np.int64]) -> list[int]:
    """Return the partner of each corner if the first in an order is joined to the second, and so on."""
    partners = np.empty(len(order), np.int64)
    partners[order[::2]], partners[order[1::2]] = order[1::2], order[::2]
    listed: list[int] = partners.tolist()
    return listed


def _simplified(ring: Ring, tolerance: float) -> Ring:
    if not tolerance:
        return ring
    fewer = cv2.approxPolyDP(ring[:, None], tolerance, closed=True)[:, 0]
    return np.asarray(fewer, np.int32) if len(fewer) > 2 else ring


def _joined(rings: Sequence[Ring]) -> Ring:
    """Join outlines at their nearest corners by lines there and back."""
    path, *others = rings
    for ring in others:
        distances, nearest = map(np.asarray, KDTree(path).query(ring))
        there = int(distances.argmin())
        here, turned = int(nearest[there]), np.roll(ring, -there, axis=0)
        path = np.concatenate([path[: here + 1], turned, turned[:1], path[here:]])
    return path


def filled(polygons: Sequence[Ring], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Fill polygons as COCO does, to a mask (H, W)."""
    height, width = shape
    flat = [polygon.reshape(-1).tolist() for polygon in polygons]
    mask: NDArray[np.bool_] = coco_mask.decode(fill_polygons(flat, height, width, "mask")).astype(bool)
    return mask


def _are_faithful(polygons: Sequence[Ring], mask: NDArray[np.bool_]) -> bool:
    """Tell whether polygons fill to much the same mask."""
    found = filled(polygons, mask.shape)
    return bool((found & mask).sum() >= _FAITHFUL * (found | mask).sum())
