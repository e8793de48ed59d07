"""Segments of a panoptic image, and measuring them in an id map."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from panoptic.format.id_map import VOID


@dataclass(frozen=True, slots=True)
class SegmentLabel:
    """The category of a segment, and the id that its pixels carry in the id map."""

    id: int
    category_id: int
    is_crowd: bool


@dataclass(frozen=True, slots=True)
class AnnotatedSegment(SegmentLabel):
    """A segment as a JSON lists it, with the extent that the JSON claims; None where it claims none.

    `area` in pixels, `box_xywh` as of a `Segment`, which is read only where issues are collected. `score` is no part
    of COCO's format.
    """

    area: int | None = None
    box_xywh: tuple[float, ...] | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Segment(SegmentLabel):
    """A segment with its extent in pixels. `box_xywh` is the tightest box: left, top, width, height."""

    area: int
    box_xywh: tuple[int, int, int, int]

    def to_json(self) -> dict[str, object]:
        """An entry of `segments_info` in COCO's panoptic format."""
        return {
            "id": self.id,
            "category_id": self.category_id,
            "iscrowd": int(self.is_crowd),
            "area": self.area,
            "bbox": list(self.box_xywh),
        }


@dataclass(frozen=True, slots=True)
class Extent:
    """Area in pixels and tightest box (left, top, width, height) of the pixels that carry one id."""

    area: int
    box_xywh: tuple[int, int, int, int]


def measure_segments(ids: NDArray[np.int32]) -> dict[int, Extent]:
    """Measure the extent of every id in an (H,W) id map except void.

    Works on horizontal runs of equal ids, which are far fewer than pixels.
    """
    height, width = ids.shape
    if ids.size == 0:
        return {}
    starts_run = np.ones((height, width), dtype=bool)
    np.not_equal(ids[:, 1:], ids[:, :-1], out=starts_run[:, 1:])
    starts = np.flatnonzero(starts_run)
    lengths = np.diff(starts, append=ids.size)
    run_ids = ids.reshape(-1)[starts]
    order = np.argsort(run_ids, kind="stable")
    starts, lengths, run_ids = starts[order], lengths[order], run_ids[order]
    groups = np.flatnonzero(np.diff(run_ids, prepend=-1))

    top, left = np.divmod(starts, width)
    areas = np.add.reduceat(lengths, groups)
    left_most, right_most = np.minimum.reduceat(left, groups), np.maximum.reduceat(left + lengths, groups)
    top_most, bottom_most = np.minimum.reduceat(top, groups), np.maximum.reduceat(top, groups) + 1
    boxes = np.stack([left_most, top_most, right_most - left_most, bottom_most - top_most], axis=1)
    return {
        segment_id: Extent(area, (x, y, w, h))
        for segment_id, area, (x, y, w, h) in zip(run_ids[groups].tolist(), areas.tolist(), boxes.tolist(), strict=True)
        if segment_id != VOID
    }


def describe_excess(counts: ArrayLike, limits: Mapping[str, int], what: str) -> str:
    """Say in how many images there are more segments than settings allow; an empty text if there are none.

    Args:
        counts: segments of each image.
        limits: settings by name.
        what: word for the segments, such as "things".
    """
    found = np.asarray(counts, np.int64)
    most = int(found.max(initial=0))
    exceeded = {name: limit for name, limit in limits.items() if limit < most}
    if not exceeded:
        return ""
    lowest = min(exceeded.values())
    named = " and ".join(f"{name} ({limit})" for name, limit in exceeded.items())
    return (
        f"{int((found > lowest).sum())} of {len(found)} images have more than {lowest} {what}, one has {most}: "
        f"more than {named} can find; the rest is neither learned nor predicted; train with at least {most}"
    )
