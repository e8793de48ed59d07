"""Figures for people: an image, its ground truth and a prediction side by side."""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from panoptic.format.categories import CategoryTable
from panoptic.format.segments import SegmentLabel
from panoptic.io.files import naming_disk_errors
from panoptic.visualization.colors import ColorPicker, Rgb
from panoptic.visualization.drawing import draw
from panoptic.visualization.regions import Regions
from panoptic.visualization.style import Style

# Images whose longer side is shorter than this are enlarged, so that labels do not cover them.
_READABLE_SIDE = 360
_GAP = 10
_TITLE_HEIGHT = 30
_TITLE_SIZE = 17
# Pixels of a small image over which borders are rounded, as standard deviation.
_SMOOTHED = 0.5
# Panels are seen smaller than an image of their size would be.
_LARGER_LETTERS = 1.25


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
    """Draw the panels of an image (H,W,3) side by side with titles, as (H',W',3) uint8 RGB."""
    return mount([draw_panels(image, ground_truth, prediction, categories)])


def draw_panels(
    image: NDArray[np.uint8],
    ground_truth: Segmentation | None,
    prediction: Segmentation | None,
    categories: CategoryTable,
) -> dict[str, NDArray[np.uint8]]:
    """Draw an image (H,W,3), its ground truth and a prediction by title, each as (H',W',3) uint8 RGB.

    What is None has no panel. A prediction that matches a ground truth segment (IoU above 0.5) has its color. Small
    images are enlarged.
    """
    picker = ColorPicker(categories)
    scale = max(1, ceil(_READABLE_SIDE / max(image.shape[:2])))
    size = image.shape[1] * scale, image.shape[0] * scale
    enlarged = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    style = Style.of(size[1], size[0], _LARGER_LETTERS)
    drawn, gt_colors = {"image": enlarged}, dict[int, Rgb]()
    for title, segmentation in (("ground truth", ground_truth), ("prediction", prediction)):
        if segmentation is None:
            continue
        regions = Regions.of(_enlarged(segmentation.ids, scale), segmentation.segments)
        matched = dict[int, Rgb]()
        if title == "prediction" and ground_truth is not None:
            matched = _matched_colors(ground_truth, segmentation, gt_colors)
        colors = picker.pick(regions.segments, regions.neighbors(), matched)
        if title == "ground truth":
            gt_colors = colors
        # Else an image without any segment looks like a figure that failed.
        shown = title if segmentation.segments else f"{title}: no segments"
        drawn[shown] = draw(enlarged, regions, colors, categories, style)
    return drawn


def _enlarged(ids: NDArray[np.int32], scale: int) -> NDArray[np.int32]:
    """Enlarge an (H,W) id map, with borders as smooth as an image has that is enlarged."""
    if scale == 1:
        return ids
    size = ids.shape[1] * scale, ids.shape[0] * scale
    enlarged, most = np.zeros(size[::-1], np.int32), np.zeros(size[::-1], np.float32)
    for key in np.unique(ids).tolist():
        mask = cv2.resize((ids == key).astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
        mask = cv2.GaussianBlur(mask, (0, 0), _SMOOTHED * scale)
        more = mask > most
        enlarged[more], most[more] = key, mask[more]
    return enlarged


def _matched_colors(
    ground_truth: Segmentation, prediction: Segmentation, gt_colors: Mapping[int, Rgb]
) -> dict[int, Rgb]:
    """The colors of predicted segments that match one of the ground truth: IoU above 0.5, void pixels ignored.

    Spelled out here, so that a change to the metric does not make drawn predictions out of date.
    """
    gt, predicted = (Regions.of(*segmentation).numbers.astype(np.int64) for segmentation in (ground_truth, prediction))
    width = len(prediction.segments) + 1
    labeled = gt > 0
    gt_areas = np.bincount(gt.reshape(-1), minlength=len(ground_truth.segments) + 1)
    areas = np.bincount(predicted[labeled], minlength=width)
    codes, intersections = np.unique(gt[labeled] * width + predicted[labeled], return_counts=True)
    colors = {}
    for code, intersection in zip(codes.tolist(), intersections.tolist(), strict=True):
        one, other = divmod(code, width)
        union = gt_areas[one] + areas[other] - intersection
        if other and 2 * intersection > union:
            expected, found = ground_truth.segments[one - 1], prediction.segments[other - 1]
            if expected.category_id == found.category_id and not expected.is_crowd:
                colors[found.id] = gt_colors[expected.id]
    return colors


def mount(rows: Sequence[Mapping[str, NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """Mount rows of panels of one size on white, each below its title, as (H',W',3) uint8 RGB."""
    height, width = next(iter(rows[0].values())).shape[:2]
    columns = max(map(len, rows))
    canvas_size = columns * (width + _GAP) + _GAP, len(rows) * (height + _TITLE_HEIGHT) + _GAP
    canvas = Image.new("RGB", canvas_size, "white")
    pen = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(_TITLE_SIZE)
    for number, row in enumerate(rows):
        top = number * (height + _TITLE_HEIGHT)
        for position, (title, panel) in enumerate(row.items()):
            left = _GAP + position * (width + _GAP)
            canvas.paste(Image.fromarray(panel), (left, top + _TITLE_HEIGHT))
            pen.text((left + width / 2, top + _TITLE_HEIGHT / 2), title, "black", font, "mm")
    return np.asarray(canvas, np.uint8)


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an image (H,W,3) RGB as a PNG file, and make its folder."""
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    with naming_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
