"""Render objects: an outline inflated like a balloon, textured and lit, with a shadow on the ground."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic.tools.mini.arrays import Colors, Field, Mask
from panoptic.tools.mini.landscape import FINENESS
from panoptic.tools.mini.light import Light
from panoptic.tools.mini.shapes import Contour
from panoptic.tools.mini.textures import Texture

_SUBPIXEL_BITS = 6
_FLATNESS = 0.6  # below 1, slopes are exaggerated and objects look rounder


@dataclass(frozen=True)
class Pose:
    """Center x, y and diameter in pixels, rotation in radians."""

    x: float
    y: float
    diameter: float
    angle: float


@dataclass(frozen=True)
class SceneObject:
    """A rendered object on a square patch of S x S pixels, which may extend beyond the image.

    `left`, `top`: position of the patch's upper left pixel in the image; `colors` (S, S, 3); `coverage` (S, S): the
    fraction of each pixel that the object covers; `inside` (S, S): pixels whose center it covers.
    """

    left: int
    top: int
    colors: Colors
    coverage: Field
    inside: Mask


def draw_object(contours: tuple[Contour, ...], pose: Pose, texture: Texture, light: Light) -> SceneObject:
    """Render an object: the silhouette on a fine grid, the bulge from the distance to the outline."""
    size = int(np.ceil(pose.diameter)) + 4
    left, top = int(np.floor(pose.x - size / 2)), int(np.floor(pose.y - size / 2))
    cos, sin = np.cos(pose.angle), np.sin(pose.angle)
    rotation = np.array(((cos, sin), (-sin, cos))) * (pose.diameter / 2)
    offset = np.array((pose.x - left, pose.y - top))
    fine = np.zeros((size * FINENESS, size * FINENESS), np.uint8)
    points = [((contour @ rotation + offset) * FINENESS - 0.5) * 2**_SUBPIXEL_BITS for contour in contours]
    cv2.fillPoly(fine, [np.rint(outline).astype(np.int32) for outline in points], (255,), shift=_SUBPIXEL_BITS)

    bulge = _shrink(_bulge(fine))
    slope_x: Field = np.gradient(bulge, axis=1) / _FLATNESS
    slope_y: Field = np.gradient(bulge, axis=0) / _FLATNESS
    y, x = (np.mgrid[:size, :size] + 0.5 - size / 2) / (pose.diameter / 2)
    diffuse = texture.paint(x * cos + y * sin, y * cos - x * sin) * light.shade(slope_x, slope_y)
    highlight = 0.45 * light.sun * light.facing(slope_x, slope_y)[..., None] ** 14
    center = FINENESS // 2
    inside = fine[center::FINENESS, center::FINENESS] > 0
    return SceneObject(left, top, diffuse + highlight, _shrink(fine / 255), inside)


def cast_shadow(item: SceneObject, light: Light, slant: tuple[float, float], shape: tuple[int, ...]) -> Field:
    """Fraction (H, W) of light that an object takes from the ground: its silhouette, projected away from the sun."""
    right, down = slant
    rows = np.flatnonzero(item.inside.any(axis=1))
    foot = float(rows[-1]) - 0.14 * len(rows)  # above the lowest point, so that round objects do not seem to hover
    to_image = np.array(((1.0, -right, item.left + foot * right), (0.0, -down, item.top + foot * (1 + down))))
    height, width = shape
    flat = cv2.warpAffine(item.coverage, to_image, (width, height), flags=cv2.INTER_LINEAR)
    soft = np.asarray(cv2.GaussianBlur(flat, (0, 0), 0.9), np.float64)
    return soft * (0.75 * light.shadow)


def _bulge(fine: NDArray[np.uint8]) -> Field:
    """Height in pixels of a balloon with this silhouette (on the fine grid)."""
    distance = np.asarray(cv2.distanceTransform(fine, cv2.DIST_L2, 5), np.float64)
    rim = max(float(distance.max()), 1.0)
    height = np.sqrt(np.clip(1 - (1 - distance / rim) ** 2, 0, 1)) * (rim / FINENESS)
    return np.asarray(cv2.GaussianBlur(height, (0, 0), 1.2 + 0.06 * rim), np.float64)


def _shrink(fine: Field) -> Field:
    """Average the grid points of each pixel: (3 H, 3 W) -> (H, W)."""
    height, width = (length // FINENESS for length in fine.shape)
    mean: Field = fine.reshape(height, FINENESS, width, FINENESS).mean(axis=(1, 3))
    return mean
