"""Pure transforms that keep picture, id map and segments together."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic.id_map import VOID
from panoptic.index import ImageRecord
from panoptic.reader import Sample
from panoptic.segments import measure_segments


def flip_horizontal(sample: Sample) -> Sample:
    """Mirror left and right."""
    width = sample.record.width
    segments = tuple(
        replace(segment, box_xywh=(width - x - w, y, w, h))
        for segment in sample.record.segments
        for x, y, w, h in (segment.box_xywh,)
    )
    image = np.ascontiguousarray(sample.image[:, ::-1])
    ids = np.ascontiguousarray(sample.ids[:, ::-1])
    return Sample(image, ids, replace(sample.record, segments=segments))


def resize(sample: Sample, height: int, width: int) -> Sample:
    """To a size in pixels: the picture bilinearly, ids from the nearest pixel. Segments that vanish are dropped."""
    if (height, width) == sample.ids.shape:
        return sample
    ids = cv2.resize(sample.ids, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return _remeasured(resize_image(sample.image, height, width), np.asarray(ids, np.int32), sample.record)


def resize_image(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """An (H,W,3) picture to a size in pixels, bilinearly."""
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def crop(sample: Sample, top: int, left: int, height: int, width: int) -> Sample:
    """A window of the picture. Segments that vanish are dropped, the others measured anew."""
    full_height, full_width = sample.ids.shape
    if not (0 <= top < top + height <= full_height and 0 <= left < left + width <= full_width):
        window = f"{height} x {width} at row {top}, column {left}"
        raise ValueError(f"the crop {window} does not lie in the picture of {full_height} x {full_width}")
    rows, columns = slice(top, top + height), slice(left, left + width)
    image = np.ascontiguousarray(sample.image[rows, columns])
    return _remeasured(image, np.ascontiguousarray(sample.ids[rows, columns]), sample.record)


def pad(sample: Sample, height: int, width: int) -> Sample:
    """Extend below and to the right to a size in pixels: black in the picture, void in the id map."""
    below, right = height - sample.record.height, width - sample.record.width
    if below < 0 or right < 0:
        size = f"{sample.record.height} x {sample.record.width}"
        raise ValueError(f"cannot pad a picture of {size} to the smaller {height} x {width}")
    image = np.pad(sample.image, ((0, below), (0, right), (0, 0)))
    ids = np.pad(sample.ids, ((0, below), (0, right)), constant_values=VOID)
    return Sample(image, ids, replace(sample.record, height=height, width=width))


def _remeasured(image: NDArray[np.uint8], ids: NDArray[np.int32], record: ImageRecord) -> Sample:
    extents = measure_segments(ids)
    segments = tuple(
        replace(segment, area=extents[segment.id].area, box_xywh=extents[segment.id].box_xywh)
        for segment in record.segments
        if segment.id in extents
    )
    height, width = ids.shape
    return Sample(image, ids, replace(record, height=height, width=width, segments=segments))
