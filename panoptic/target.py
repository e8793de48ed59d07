"""What a network should find in a picture: every thing, and every stuff class, by a number."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic.categories import CategoryTable
from panoptic.reader import Sample
from panoptic.segments import Segment


@dataclass(frozen=True)
class PanopticTarget:
    """N segments of an (H,W) picture: first its things, then its stuff classes, each once, by label.

    segments (H,W) int16, 1..N where one is, else 0; labels (N,) int64 of `CategoryTable.label_of`; boxes_xyxy (N,4)
    float32, pixels; `things` of the N are things.
    """

    segments: NDArray[np.int16]
    labels: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float32]
    things: int


def make_target(sample: Sample, categories: CategoryTable) -> PanopticTarget:
    """The target of a sample. Crowd regions are left out: their pixels count as void."""
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
