"""Figures for people: an image, its ground truth and a prediction side by side, with colors and names."""

import colorsys
from collections import Counter
from collections.abc import Mapping, Sequence
from math import ceil
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from panoptic.format.categories import Category, CategoryTable
from panoptic.format.id_map import VOID
from panoptic.format.results import ResultSegment
from panoptic.format.segments import SegmentLabel

Rgb = tuple[int, int, int]
Box = tuple[float, float, float, float]

# Images whose longer side is shorter than this are enlarged, so that labels do not cover them.
_READABLE_SIDE = 360
_GAP = 10
_TITLE_HEIGHT = 30
_TITLE_SIZE = 17
_LABEL_SIZE = 13
_OPACITY = 0.68
_VOID_COLOR: Rgb = (20, 20, 20)


class Segmentation(NamedTuple):
    """An (H,W) id map and its segments."""

    ids: NDArray[np.int32]
    segments: Sequence[SegmentLabel]


def side_by_side(
    image: NDArray[np.uint8],
    ground_truth: Segmentation | None,
    prediction: Segmentation | None,
    categories: CategoryTable,
) -> NDArray[np.uint8]:
    """Draw an image (H,W,3), its ground truth and a prediction side by side with titles, as (H',W',3) uint8 RGB.

    What is None has no panel. A prediction that matches a ground truth segment (IoU above 0.5) has its color. Small
    images are enlarged.
    """
    seen: Counter[int] = Counter()
    scale = max(1, ceil(_READABLE_SIDE / max(image.shape[:2])))
    size = image.shape[1] * scale, image.shape[0] * scale
    enlarged = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    panels, gt_colors = {"image": enlarged}, dict[int, Rgb]()
    for title, segmentation in (("ground truth", ground_truth), ("prediction", prediction)):
        if segmentation is None:
            continue
        colors = _segment_colors(segmentation.segments, categories, seen)
        if title == "ground truth":
            gt_colors = colors
        elif ground_truth is not None:
            colors |= _matched_colors(ground_truth, segmentation, gt_colors)
        large_ids = np.asarray(cv2.resize(segmentation.ids, size, interpolation=cv2.INTER_NEAREST), np.int32)
        drawn = _painted(enlarged, large_ids, colors)
        # Else an image without any segment looks like a figure that failed.
        shown = title if segmentation.segments else f"{title}: no segments"
        panels[shown] = _labeled(drawn, large_ids, segmentation.segments, categories)
    return _mounted(panels)


def _matched_colors(
    ground_truth: Segmentation, prediction: Segmentation, gt_colors: Mapping[int, Rgb]
) -> dict[int, Rgb]:
    """The colors of predicted segments that match one of the ground truth."""
    gt_categories = {segment.id: segment.category_id for segment in ground_truth.segments if not segment.is_crowd}
    return {
        segment.id: gt_colors[matched]
        for segment in prediction.segments
        if gt_categories.get(matched := _matched(ground_truth.ids, prediction.ids == segment.id)) == segment.category_id
    }


def painted(
    image: NDArray[np.uint8], ids: NDArray[np.int32], segments: Sequence[SegmentLabel], categories: CategoryTable
) -> NDArray[np.uint8]:
    """Tint an image (H,W,3) RGB by the segments of its (H,W) id map, at its size and without names."""
    return _painted(image, ids, _segment_colors(segments, categories, Counter()))


def overlay(
    image: NDArray[np.uint8], ids: NDArray[np.int32], segments: Sequence[SegmentLabel], categories: CategoryTable
) -> NDArray[np.uint8]:
    """Tint an image (H,W,3) RGB by the segments of its (H,W) id map, at its size, and name them."""
    return _labeled(painted(image, ids, segments, categories), ids, segments, categories)


def _matched(gt_ids: NDArray[np.int32], mask: NDArray[np.bool_]) -> int:
    """The segment of the (H,W) id map that a mask matches with an IoU above 0.5, void pixels ignored, or `VOID`.

    Spelled out here, so that a change to the metric does not make drawn predictions out of date.
    """
    covered = gt_ids[mask & (gt_ids != VOID)]
    ids, counts = np.unique(covered, return_counts=True)
    if not len(ids):
        return VOID
    best, intersection = int(ids[counts.argmax()]), int(counts.max())
    union = covered.size + np.count_nonzero(gt_ids == best) - intersection
    return best if 2 * intersection > union else VOID


def _segment_colors(segments: Sequence[SegmentLabel], categories: CategoryTable, seen: Counter[int]) -> dict[int, Rgb]:
    """Choose a color for each segment: that of its category, varied for things; `seen` counts by category."""
    colors = {}
    for segment in segments:
        category = categories.by_id(segment.category_id)
        colors[segment.id] = _varied(category, seen[category.id]) if category.is_thing else category.color
        seen[category.id] += 1
    return colors


def _varied(category: Category, index: int) -> Rgb:
    """The category's color for its first segment, varied in hue and brightness for the others."""
    if index == 0:
        return category.color
    red, green, blue = category.color
    hue, saturation, value = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
    # Multiples of the golden ratio never repeat, and successive ones are far apart.
    hue += 0.16 * ((index * 0.618034 + 0.5) % 1.0 - 0.5)
    value = max(value, 0.6) * (1 - 0.45 * ((index * 0.381966) % 1.0))
    rgb = colorsys.hsv_to_rgb(hue % 1.0, max(saturation, 0.4), value)
    return round(255 * rgb[0]), round(255 * rgb[1]), round(255 * rgb[2])


def _painted(image: NDArray[np.uint8], ids: NDArray[np.int32], colors: Mapping[int, Rgb]) -> NDArray[np.uint8]:
    """Tint an image by segment, with a thin line along every boundary."""
    found, members = np.unique(ids, return_inverse=True)
    table = np.array([_VOID_COLOR if key == VOID else colors[key] for key in found.tolist()], np.uint8)
    tint = table[members.reshape(ids.shape)]
    painted = np.asarray(cv2.addWeighted(tint, _OPACITY, image, 1 - _OPACITY, 0), np.uint8)
    boundary = np.zeros(ids.shape, dtype=bool)
    boundary[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    boundary[1:] |= ids[1:] != ids[:-1]
    painted[boundary] = 255
    return painted


def _labeled(
    painted: NDArray[np.uint8], ids: NDArray[np.int32], segments: Sequence[SegmentLabel], categories: CategoryTable
) -> NDArray[np.uint8]:
    """Write the name into each segment, largest first; labels that would cover another one are left out."""
    canvas = Image.fromarray(painted)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(_LABEL_SIZE)
    taken: list[Box] = []
    masks = [(segment, ids == segment.id) for segment in segments]
    for segment, mask in sorted(masks, key=lambda pair: -int(pair[1].sum())):
        text = _label(segment, categories)
        box = _label_box(draw.textbbox((0, 0), text, font, stroke_width=2), mask)
        if not any(_overlap(box, other) for other in taken):
            taken.append(box)
            draw.text(
                ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2),
                text,
                "white",
                font,
                "mm",
                stroke_width=2,
                stroke_fill="black",
            )
    return np.asarray(canvas, np.uint8)


def _label(segment: SegmentLabel, categories: CategoryTable) -> str:
    name = categories.by_id(segment.category_id).name
    if segment.is_crowd:
        return f"{name} (crowd)"
    if isinstance(segment, ResultSegment) and segment.score is not None:
        return f"{name} {100 * segment.score:.0f}"
    return name


def _label_box(text_box: Box, mask: NDArray[np.bool_]) -> Box:
    """The box of a text, centered on the point of the mask farthest from its border and moved into the image."""
    height, width = mask.shape
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(int(np.argmax(depth)), mask.shape)
    text_width, text_height = text_box[2] - text_box[0], text_box[3] - text_box[1]
    left = min(max(0.0, float(x) - text_width / 2), max(0.0, width - text_width))
    top = min(max(0.0, float(y) - text_height / 2), max(0.0, height - text_height))
    return left, top, left + text_width, top + text_height


def _overlap(first: Box, second: Box) -> bool:
    apart = first[2] <= second[0] or second[2] <= first[0] or first[3] <= second[1] or second[3] <= first[1]
    return not apart


def _mounted(panels: Mapping[str, NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Mount panels of one size in a row on white, each below its title."""
    height, width = next(iter(panels.values())).shape[:2]
    canvas_size = len(panels) * (width + _GAP) + _GAP, height + _TITLE_HEIGHT + _GAP
    canvas = Image.new("RGB", canvas_size, "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(_TITLE_SIZE)
    for position, (title, panel) in enumerate(panels.items()):
        left = _GAP + position * (width + _GAP)
        canvas.paste(Image.fromarray(panel), (left, _TITLE_HEIGHT))
        draw.text((left + width / 2, _TITLE_HEIGHT / 2), title, "black", font, "mm")
    return np.asarray(canvas, np.uint8)
