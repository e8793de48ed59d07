"""Colors of segments: that of the category, even in brightness, varied where neighbors would look alike."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic.format.categories import Category, CategoryTable
from panoptic.format.segments import SegmentLabel

Rgb = tuple[int, int, int]

# Distances in CIE Lab (Delta E 1976) that things and stuff keep from neighbors; one sees 2.3 side by side. Stuff, which
# is known by its color, changes it for close ones only.
CLEAR_THING, CLEAR_STUFF = 32.0, 20.0
_VARIANTS = 32
# Palettes range from nearly black to nearly white, which vanish on a photo of that brightness.
_THING_LIGHTNESS, _STUFF_LIGHTNESS = (48.0, 76.0), (42.0, 70.0)
_LEAST_THING_CHROMA, _MOST_STUFF_CHROMA = 56.0, 34.0
_GOLDEN = 0.618034
# Grays have a hue by rounding only.
_LEAST_HUED = 2.0


def to_lab(colors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Convert colors (N,3) sRGB to CIE Lab."""
    if not len(colors):
        return np.zeros((0, 3), np.float32)
    scaled = (colors.astype(np.float32) / 255).reshape(-1, 1, 3)
    return np.asarray(cv2.cvtColor(scaled, cv2.COLOR_RGB2Lab), np.float32).reshape(-1, 3)


def luminance(color: Rgb) -> float:
    """Compute the relative luminance of WCAG 2, 0..1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (x / 255 for x in color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: Rgb, second: Rgb) -> float:
    """Compute the contrast ratio of WCAG 2, 1..21; text needs 4.5."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


class ColorPicker:
    """Chooses the colors of segments, remembering which things of a class have had which."""

    def __init__(self, categories: CategoryTable) -> None:
        self._categories = categories
        self._used: dict[int, set[int]] = defaultdict(set)

    def pick(
        self,
        segments: Sequence[SegmentLabel],
        neighbors: Mapping[int, Collection[int]],
        chosen: Mapping[int, Rgb] = MappingProxyType({}),
    ) -> dict[int, Rgb]:
        """Choose a color for each segment, by id, in their order.

        Things of one class differ; `neighbors`, by id, keep a clear distance, or as much as the class allows. Those in
        `chosen` have theirs already.
        """
        colors = dict(chosen)
        for segment in segments:
            if segment.id not in chosen:
                taken = [colors[other] for other in neighbors.get(segment.id, ()) if other in colors]
                colors[segment.id] = self._free_color(segment, taken)
        return colors

    def _free_color(self, segment: SegmentLabel, taken: Sequence[Rgb]) -> Rgb:
        category = self._categories.by_id(segment.category_id)
        rgb, lab = _variants(category)
        apart = _distances(lab, to_lab(np.array(taken, np.uint8)))
        fresh = _distances(lab, lab[list(self._used[category.id])])
        clear = apart >= (CLEAR_THING if category.is_thing else CLEAR_STUFF)
        variant = int(np.where(clear, fresh, -1.0).argmax() if clear.any() else apart.argmax())
        if category.is_thing:
            self._used[category.id].add(variant)
        red, green, blue = rgb[variant].tolist()
        return red, green, blue


def _distances(lab: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Measure how far each color (N,3) is from the nearest of `others` (M,3); infinite if there are none."""
    squared = ((lab[:, None] - others) ** 2).sum(axis=2)
    return np.asarray(np.sqrt(squared.min(axis=1, initial=np.inf)), np.float32)


@lru_cache(maxsize=1024)
def _variants(category: Category) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The colors (N,3) that segments of a category may have, its own first, and the same in Lab."""
    lightness, a, b = to_lab(np.array([category.color], np.uint8))[0].tolist()
    chroma, hue = float(np.hypot(a, b)), float(np.arctan2(b, a))
    if chroma < _LEAST_HUED:
        hue = 2 * np.pi * (category.id * _GOLDEN % 1.0)
    low, high = _THING_LIGHTNESS if category.is_thing else _STUFF_LIGHTNESS
    index = np.arange(_VARIANTS)
    # Multiples of the golden ratio never repeat, and successive ones are far apart.
    turn = (index * _GOLDEN + 0.5) % 1.0 - 0.5
    start = float(np.clip(lightness, low, high))
    lightnesses = low + (start - low + (high - low) * ((index * _GOLDEN * 0.75) % 1.0)) % (high - low + 1e-3)
    if category.is_thing:
        hues, chromas = hue + 2.1 * turn, np.full(_VARIANTS, max(chroma, _LEAST_THING_CHROMA))
    else:
        hues, chromas = hue + 0.9 * turn, np.full(_VARIANTS, min(chroma, _MOST_STUFF_CHROMA))
    lab = np.stack([lightnesses, chromas * np.cos(hues), chromas * np.sin(hues)], axis=1).astype(np.float32)
    rgb = np.asarray(cv2.cvtColor(lab[:, None], cv2.COLOR_Lab2RGB)).reshape(-1, 3)
    rounded = np.asarray(np.clip(np.rint(255 * rgb), 0, 255), np.uint8)
    return rounded, to_lab(rounded)
