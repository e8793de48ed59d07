"""The training target of an image: a map of every thing and every stuff class, with labels and boxes."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic.data.reader import Sample
from panoptic.format.categories import CategoryTable
from panoptic.format.segments import Segment
from panoptic.io.errors import DatasetError

MOST_SEGMENTS = int(np.iinfo(np.int16).max)


@dataclass(frozen=True)
class PanopticTarget:
    """N segments of an (H,W) image: first its things, then its stuff classes, each class once, in order of label.

    Attributes:
        segments: (H,W) int16, 1..N, and 0 where there is no segment.
        labels: (N,) int64, those of `CategoryTable.label_of`.
        boxes_xyxy: (N,4) float32, in pixels.
        things: number of things among the N segments.
    """

    segments: NDArray[np.int16]
    labels: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float32]
    things: int


def make_target(sample: Sample, categories: CategoryTable) -> PanopticTarget:
    """Make the target of a sample. Crowd regions are left out: their pixels count as void."""
    things: list[tuple[int, list[Segment]]] = []
    stuff: dict[int, list[Segment]] = {}
    for segment in sample.record.segments:
        label = categories.label_of(segment.category_id)
        if segment.is_crowd:
            continue
        if label < len(categories.things):
            things.append((label, [segment]))
        else:
            stuff.setdefault(label, []).append(segment)
    found = [*things, *sorted(stuff.items())]
    if len(found) > MOST_SEGMENTS:
        where = f"image {sample.record.image_id} ({sample.record.file_name})"
        raise DatasetError(f"{where}: {len(found)} segments, expected at most {MOST_SEGMENTS}; divide the image")

    segments = np.zeros(sample.ids.shape, np.int16)
    boxes = np.empty((len(found), 4), np.float32)
    for number, (_, parts) in enumerate(found, start=1):
        corners = np.array([part.box_xywh for part in parts])
        corners[:, 2:] += corners[:, :2]
        boxes[number - 1] = *corners[:, :2].min(0), *corners[:, 2:].max(0)
        for part, (left, top, right, bottom) in zip(parts, corners.tolist(), strict=True):
            window = slice(top, bottom), slice(left, right)
            np.copyto(segments[window], np.int16(number), where=sample.ids[window] == part.id)
    return PanopticTarget(segments, np.array([label for label, _ in found], np.int64), boxes, len(things))


def mask_boxes(masks: Iterable[NDArray[np.bool_]]) -> NDArray[np.float32]:
    """Compute the tightest boxes (N,4) xyxy in pixels of N masks (H,W); all 0 for an empty mask."""
    boxes = np.array([cv2.boundingRect(mask.view(np.uint8)) for mask in masks], np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def segment_moments(segments: NDArray[np.int16], boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute center of mass and area (N,3), xy and area in pixels, of segments 1..N of a map (H,W) in boxes (N,4).

    All three are 0 for a segment without a pixel.
    """
    found = np.zeros((len(boxes_xyxy), 3), np.float32)
    for number, (left, top, right, bottom) in enumerate(boxes_xyxy.astype(int).tolist(), start=1):
        mask = segments[top:bottom, left:right] == number
        moments = cv2.moments(mask.view(np.uint8), binaryImage=True)
        if area := moments["m00"]:
            center = left + 0.5 + moments["m10"] / area, top + 0.5 + moments["m01"] / area
            found[number - 1] = *center, area
    return found
