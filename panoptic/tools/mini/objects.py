"""The things: an outline blown up like a balloon, painted, lit, and with a shadow on the ground."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic.tools.mini.arrays import Colors, Field, Mask
from panoptic.tools.mini.landscape import FINENESS
from panoptic.tools.mini.light import Light
from panoptic.tools.mini.shapes import Contour
from panoptic.tools.mini.textures import Coat

_SUBPIXEL_BITS = 6
_FLATNESS = 0.6  # of the balloons: below 1 they look rounder than they are


@dataclass(frozen=True)
class Pose:
    """Center x, y and diameter in pixels, rotation in radians."""

    x: float
    y: float
    diameter: float
    angle: float


@dataclass(frozen=True)
class Toy:
    """One thing, drawn on a square patch of S x S pixels, which may lie partly outside the image.

    `left`, `top`: pixel of the image under the patch's upper left one; `colors` (S, S, 3); `coverage` (S, S) share of
    each pixel that the thing fills; `inside` (S, S) the pixels whose center it fills.
    """

    left: int
    top: int
    colors: Colors
    coverage: Field
    inside: Mask


def draw_toy(contours: tuple[Contour, ...], pose: Pose, coat: Coat, light: Light) -> Toy:
    """Render a thing: its silhouette on a fine grid, its bulge from the distance to its outline."""
    size = int(np.ceil(pose.diameter)) + 4
    left, top = int(np.floor(pose.x - size / 2)), int(np.floor(pose.y - size / 2))
    cos, sin = np.cos(pose.angle), np.sin(pose.angle)
    turn = np.array(((cos, sin), (-sin, cos))) * (pose.diameter / 2)
    offset = np.array((pose.x - left, pose.y - top))
    fine = np.zeros((size * FINENESS, size * FINENESS), np.uint8)
    corners = [((contour @ turn + offset) * FINENESS - 0.5) * 2**_SUBPIXEL_BITS for contour in contours]
    cv2.fillPoly(fine, [np.rint(points).astype(np.int32) for points in corners], (255,), shift=_SUBPIXEL_BITS)

    bulge = _shrink(_bulge(fine))
    slope_x: Field = np.gradient(bulge, axis=1) / _FLATNESS
    slope_y: Field = np.gradient(bulge, axis=0) / _FLATNESS
    y, x = (np.mgrid[:size, :size] + 0.5 - size / 2) / (pose.diameter / 2)
    matt = coat.paint(x * cos + y * sin, y * cos - x * sin) * light.shade(slope_x, slope_y)
    shine = 0.45 * light.sun * light.facing(slope_x, slope_y)[..., None] ** 14
    center = FINENESS // 2
    inside = fine[center::FINENESS, center::FINENESS] > 0
    return Toy(left, top, matt + shine, _shrink(fine / 255), inside)


def cast_shadow(toy: Toy, light: Light, slant: tuple[float, float], shape: tuple[int, ...]) -> Field:
    """(H, W) how much light a standing thing takes from the ground: its silhouette, laid down away from the sun."""
    right, down = slant
    rows = np.flatnonzero(toy.inside.any(axis=1))
    foot = float(rows[-1]) - 0.14 * len(rows)  # above the lowest point, so that nothing round seems to hover
    to_image = np.array(((1.0, -right, toy.left + foot * right), (0.0, -down, toy.top + foot * (1 + down))))
    height, width = shape
    flat = cv2.warpAffine(toy.coverage, to_image, (width, height), flags=cv2.INTER_LINEAR)
    soft = np.asarray(cv2.GaussianBlur(flat, (0, 0), 0.9), np.float64)
    return soft * (0.75 * light.shadow)


def _bulge(fine: NDArray[np.uint8]) -> Field:
    """Height in pixels of a balloon with this silhouette (fine grid)."""
    distance = np.asarray(cv2.distanceTransform(fine, cv2.DIST_L2, 5), np.float64)
    rim = max(float(distance.max()), 1.0)
    height = np.sqrt(np.clip(1 - (1 - distance / rim) ** 2, 0, 1)) * (rim / FINENESS)
    return np.asarray(cv2.GaussianBlur(height, (0, 0), 1.2 + 0.06 * rim), np.float64)


def _shrink(fine: Field) -> Field:
    """(3 H, 3 W) -> (H, W), the mean of each pixel's points."""
    height, width = (length // FINENESS for length in fine.shape)
    mean: Field = fine.reshape(height, FINENESS, width, FINENESS).mean(axis=(1, 3))
    return mean
