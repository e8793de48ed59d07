"""Names of segments on plates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from panoptic.format.categories import CategoryTable
from panoptic.format.results import ResultSegment
from panoptic.format.segments import SegmentLabel
from panoptic.visualization.colors import Rgb, contrast
from panoptic.visualization.fonts import Font, drawable, family_for
from panoptic.visualization.style import Style

_BOLDER = 1.4


@dataclass(frozen=True)
class PlateBox:
    """Box of a plate; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    def contains(self, point: tuple[int, int]) -> bool:
        """Tell whether a pixel is inside."""
        return self.left <= point[0] < self.right and self.top <= point[1] < self.bottom


@dataclass(frozen=True)
class Label:
    """The name of a segment, and its plate; `led_to` is the point of a small segment that a line leads to."""

    segment_id: int
    text: str
    box: PlateBox
    led_to: tuple[int, int] | None = None


@dataclass(frozen=True)
class Lettering:
    """The font of an image, and the text for each of its segments."""

    font: Font
    texts: Mapping[int, str]
    """By id of the segment."""

    @classmethod
    def of(cls, segments: Sequence[SegmentLabel], categories: CategoryTable, style: Style) -> "Lettering":
        """Choose the font that draws all names, and write the names."""
        names = {segment.category_id: categories.by_id(segment.category_id).name for segment in segments}
        family = family_for(list(names.values()))
        shown = {key: drawable(name, family, f"category {key}") for key, name in names.items()}
        return cls(
            family(style.font), {segment.id: shown[segment.category_id] + _remark(segment) for segment in segments}
        )

    @cached_property
    def padding(self) -> int:
        """Pixels between a plate's edge and its text, at the sides; half of it above and below."""
        return max(2, round(0.35 * self.font.size))

    @cached_property
    def plate_height(self) -> int:
        """The same for all plates, so that they look alike."""
        return sum(self.font.getmetrics()) + self.padding // 2

    def plate_width(self, segment_id: int) -> int:
        """The width that a segment's text needs."""
        return ceil(self.font.getlength(self.texts[segment_id])) + 2 * self.padding


def _remark(segment: SegmentLabel) -> str:
    if segment.is_crowd:
        return " (crowd)"
    score = segment.score if isinstance(segment, ResultSegment) else None
    return "" if score is None else f" {score:.2f}"


def text_color(plate: Rgb) -> Rgb:
    """Choose white, or black on a plate so light that white has less than the contrast of 4.5 that text needs."""
    white = (255, 255, 255)
    return white if contrast(white, plate) >= 4.5 else (0, 0, 0)


def draw_labels(
    canvas: NDArray[np.uint8], labels: Sequence[Label], colors: Mapping[int, Rgb], lettering: Lettering, line: float
) -> None:
    """Draw labels onto an image (H,W,3) RGB; plates have the `colors` of their segments, by id."""
    for label in labels:
        if label.led_to is not None:
            _lead(canvas, label.box, label.led_to, colors[label.segment_id], line)
    for label in labels:
        _draw_plate(canvas, label, colors[label.segment_id], lettering)


def _lead(canvas: NDArray[np.uint8], box: PlateBox, point: tuple[int, int], color: Rgb, line: float) -> None:
    """Draw a line from a plate to a point, with a dot there; edged in black to be seen on its own color."""
    center = (box.left + box.right) // 2, (box.top + box.bottom) // 2
    width = max(1, round(line))
    for shade, extra in (((0, 0, 0), max(1, width // 3)), (color, 0)):
        cv2.line(canvas, center, point, shade, width + 2 * extra, cv2.LINE_AA)
        cv2.circle(canvas, point, width + extra, shade, cv2.FILLED, cv2.LINE_AA)


def _draw_plate(canvas: NDArray[np.uint8], label: Label, color: Rgb, lettering: Lettering) -> None:
    box = label.box
    size = box.right - box.left, box.bottom - box.top
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).text((size[0] / 2, size[1] / 2), label.text, 255, lettering.font, "mm")
    area = canvas[box.top : box.bottom, box.left : box.right]
    # Thin strokes of small letters would not reach the full color of the text.
    text = np.minimum(np.asarray(mask, np.float32) * (_BOLDER / 255), 1)
    for shade, coverage in ((color, _rounded(*size)), (text_color(color), text)):
        area[:] = np.rint(area + coverage[..., None] * (np.array(shade, np.float32) - area))


def _rounded(width: int, height: int) -> NDArray[np.float32]:
    """Compute the fraction of each pixel (H,W) that a rectangle with round corners covers."""
    radius = height / 5
    x = np.maximum(np.abs(np.arange(width) - (width - 1) / 2) - (width / 2 - radius), 0)
    y = np.maximum(np.abs(np.arange(height) - (height - 1) / 2) - (height / 2 - radius), 0)
    return np.asarray(np.clip(radius + 0.5 - np.hypot(x, y[:, None]), 0, 1), np.float32)
