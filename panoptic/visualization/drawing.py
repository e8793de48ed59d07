"""Drawing the segments of an image onto it, at the image's size."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from panoptic.format.categories import CategoryTable
from panoptic.format.segments import SegmentLabel
from panoptic.visualization.colors import ColorPicker, Rgb
from panoptic.visualization.labels import Lettering, draw_labels
from panoptic.visualization.painting import paint
from panoptic.visualization.placing import place_labels
from panoptic.visualization.regions import Regions
from panoptic.visualization.style import Style


def overlay(
    image: NDArray[np.uint8], ids: NDArray[np.int32], segments: Sequence[SegmentLabel], categories: CategoryTable
) -> NDArray[np.uint8]:
    """Tint an image (H,W,3) RGB by the segments of its (H,W) id map, at its size, and name them.

    Things have an outline, stuff is muted, and void, with all ids that have no segment, is hatched. Small segments are
    named beside, or not at all.
    """
    regions = Regions.of(ids, segments)
    return draw(image, regions, _colors(regions, categories), categories, Style.of(*ids.shape))


def painted(
    image: NDArray[np.uint8], ids: NDArray[np.int32], segments: Sequence[SegmentLabel], categories: CategoryTable
) -> NDArray[np.uint8]:
    """Draw the `overlay` of an image without names."""
    regions = Regions.of(ids, segments)
    return paint(image, regions, _colors(regions, categories), categories, Style.of(*ids.shape))


def draw(
    image: NDArray[np.uint8], regions: Regions, colors: Mapping[int, Rgb], categories: CategoryTable, style: Style
) -> NDArray[np.uint8]:
    """Draw the overlay in given colors, by id, and sizes."""
    canvas = paint(image, regions, colors, categories, style)
    lettering = Lettering.of(regions.segments, categories, style)
    draw_labels(canvas, place_labels(regions, categories, lettering), colors, lettering, style.line)
    return canvas


def _colors(regions: Regions, categories: CategoryTable) -> dict[int, Rgb]:
    return ColorPicker(categories).pick(regions.segments, regions.neighbors())
