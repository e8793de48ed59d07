"""What a network should find in a picture: one mask per thing, one mask per stuff class."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic.categories import CategoryTable
from panoptic.reader import Sample
from panoptic.segments import Segment


@dataclass(frozen=True)
class PanopticTarget:
    """T things and U stuff classes of an (H,W) picture.

    thing_masks (T,H,W) bool, thing_labels (T,) int64 in 0..things-1, thing_boxes_xyxy (T,4) float32, pixels;
    stuff_masks (U,H,W) bool, stuff_labels (U,) int64 in 0..stuff-1, each class once.
    """

    thing_masks: NDArray[np.bool_]
    thing_labels: NDArray[np.int64]
    thing_boxes_xyxy: NDArray[np.float32]
    stuff_masks: NDArray[np.bool_]
    stuff_labels: NDArray[np.int64]


def make_target(sample: Sample, categories: CategoryTable) -> PanopticTarget:
    """The target of a sample. Crowd regions are left out: their pixels count as void."""
    thing_count = len(categories.things)
    things: list[tuple[Segment, int]] = []
    stuff: list[tuple[Segment, int]] = []
    for segment in sample.record.segments:
        label = categories.label_of(segment.category_id)
        if not segment.is_crowd:
            (things if label < thing_count else stuff).append((segment, label))
    stuff_labels = sorted({label - thing_count for _, label in stuff})

    thing_masks = np.empty((len(things), *sample.ids.shape), dtype=bool)
    thing_boxes = np.empty((len(things), 4), dtype=np.float32)
    for position, (segment, _) in enumerate(things):
        np.equal(sample.ids, segment.id, out=thing_masks[position])
        x, y, w, h = segment.box_xywh
        thing_boxes[position] = (x, y, x + w, y + h)
    stuff_masks = np.zeros((len(stuff_labels), *sample.ids.shape), dtype=bool)
    for segment, label in stuff:
        stuff_masks[stuff_labels.index(label - thing_count)] |= sample.ids == segment.id
    return PanopticTarget(
        thing_masks=thing_masks,
        thing_labels=np.array([label for _, label in things], dtype=np.int64),
        thing_boxes_xyxy=thing_boxes,
        stuff_masks=stuff_masks,
        stuff_labels=np.array(stuff_labels, dtype=np.int64),
    )
