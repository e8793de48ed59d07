"""Tinting an image by its segments: things with a crisp outline, stuff muted, void hatched."""

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic.format.categories import CategoryTable
from panoptic.format.id_map import VOID
from panoptic.visualization.colors import Rgb
from panoptic.visualization.regions import Regions
from panoptic.visualization.style import Style

_VOID_COLOR: Rgb = (38, 38, 44)
_STRIPE_COLOR: Rgb = (104, 104, 112)
_VOID_OPACITY, _STRIPE_OPACITY = 0.6, 0.5
_GRAYED = 0.5
# Rows that are painted at a time: what lies between two steps stays in the processor's cache.
_BAND_PIXELS = 1 << 18


@dataclass(frozen=True)
class _Palette:
    """Tables by number of a segment; the last row is that of the stripes of void."""

    colors: NDArray[np.uint8]
    opacities: NDArray[np.float32]
    outlined: NDArray[np.float32]

    @classmethod
    def of(cls, regions: Regions, colors: Mapping[int, Rgb], categories: CategoryTable, style: Style) -> "_Palette":
        things = [categories.by_id(segment.category_id).is_thing for segment in regions.segments]
        tints = [colors[segment.id] for segment in regions.segments]
        opacities = [style.thing_opacity if thing else style.stuff_opacity for thing in things]
        return cls(
            np.array([_VOID_COLOR, *tints, _STRIPE_COLOR], np.uint8),
            np.array([_VOID_OPACITY, *opacities, _STRIPE_OPACITY], np.float32),
            np.array([0, *things, 0], np.float32),
        )


def paint(
    image: NDArray[np.uint8], regions: Regions, colors: Mapping[int, Rgb], categories: CategoryTable, style: Style
) -> NDArray[np.uint8]:
    """Tint an image (H,W,3) RGB by its segments, with `colors` by id."""
    palette = _Palette.of(regions, colors, categories, style)
    height, width = regions.numbers.shape
    painted = np.empty_like(image)
    distance = regions.edge_distance()
    stripes = _stripes(width, style.hatch)
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        band = slice(top, min(height, top + rows))
        striped = stripes.take(np.arange(band.start, band.stop) % style.hatch, axis=0) & (regions.numbers[band] == VOID)
        numbers = np.where(striped, np.int32(len(palette.colors) - 1), regions.numbers[band])
        opacity = palette.opacities.take(numbers)
        tint = np.ascontiguousarray(palette.colors.take(numbers, axis=0))
        muted = _muted(np.ascontiguousarray(image[band]))
        shade = np.asarray(cv2.blendLinear(tint, muted, opacity, 1 - opacity), np.uint8)
        _outline(shade, numbers, distance[band], palette, style.line)
        painted[band] = shade
    return painted


def _muted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Take a part of the color out of an image (H,W,3), which would change those of the segments."""
    gray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(image, 1 - _GRAYED, gray, _GRAYED, 0), np.uint8)


def _stripes(width: int, period: int) -> NDArray[np.bool_]:
    """Tell which pixels of the first `period` rows (period,W) are on a diagonal stripe; the others repeat them."""
    return (np.arange(period)[:, None] + np.arange(width)) % period < max(1, period // 3)


def _outline(
    shade: NDArray[np.uint8],
    numbers: NDArray[np.int32],
    distance: NDArray[np.float32],
    palette: _Palette,
    line: float,
) -> None:
    """Draw the outlines of things, inside of them, in their full color, onto `shade`."""
    near = np.nonzero((distance < line) & (palette.outlined.take(numbers) > 0))
    coverage = np.clip(line - distance[near], 0, 1)[:, None]
    shade[near] = np.rint(coverage * palette.colors[numbers[near]] + (1 - coverage) * shade[near])
