"""Pure transforms that keep image, id map and segments consistent."""

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic.data.reader import Sample
from panoptic.format.id_map import VOID
from panoptic.format.segments import measure_segments
from panoptic.index import ImageRecord
from panoptic.runtime.ranges import Fraction, Side, require_ranges


def flip_horizontal(sample: Sample) -> Sample:
    """Mirror left and right."""
    width = sample.record.width
    segments = tuple(
        replace(segment, box_xywh=(width - x - w, y, w, h))
        for segment in sample.record.segments
        for x, y, w, h in (segment.box_xywh,)
    )
    # Copied, as torch takes no negative strides, which numpy regards as contiguous where there is a single column.
    image, ids = np.copy(sample.image[:, ::-1], order="C"), np.copy(sample.ids[:, ::-1], order="C")
    return Sample(image, ids, replace(sample.record, segments=segments))


def resize(sample: Sample, height: int, width: int) -> Sample:
    """Resize to a size in pixels: the image bilinearly, ids by nearest pixel. Segments that vanish are dropped."""
    if (height, width) == sample.ids.shape:
        return sample
    ids = cv2.resize(sample.ids, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return remeasured(resize_image(sample.image, height, width), np.asarray(ids, np.int32), sample.record)


def resize_image(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Resize an (H,W,3) image to a size in pixels, bilinearly."""
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def crop(sample: Sample, top: int, left: int, height: int, width: int) -> Sample:
    """Cut out a window of the image. Segments that vanish are dropped, the others measured again."""
    full_height, full_width = sample.ids.shape
    if not (0 <= top < top + height <= full_height and 0 <= left < left + width <= full_width):
        window = f"{height} x {width} at row {top}, column {left}"
        raise ValueError(f"the crop {window} is not inside the image of {full_height} x {full_width}")
    rows, columns = slice(top, top + height), slice(left, left + width)
    image = np.ascontiguousarray(sample.image[rows, columns])
    return remeasured(image, np.ascontiguousarray(sample.ids[rows, columns]), sample.record)


def pad(sample: Sample, height: int, width: int) -> Sample:
    """Pad at the bottom and right to a size in pixels: black in the image, void in the id map."""
    below, right = height - sample.record.height, width - sample.record.width
    if below < 0 or right < 0:
        size = f"{sample.record.height} x {sample.record.width}"
        raise ValueError(f"cannot pad an image of {size} to the smaller {height} x {width}")
    image = np.pad(sample.image, ((0, below), (0, right), (0, 0)))
    ids = np.pad(sample.ids, ((0, below), (0, right)), constant_values=VOID)
    return Sample(image, ids, replace(sample.record, height=height, width=width))


def remeasured(image: NDArray[np.uint8], ids: NDArray[np.int32], record: ImageRecord) -> Sample:
    """Make a sample of an image and its ids, with the record's segments measured in them. Those that vanished go."""
    extents = measure_segments(ids)
    segments = tuple(
        replace(segment, area=extents[segment.id].area, box_xywh=extents[segment.id].box_xywh)
        for segment in record.segments
        if segment.id in extents
    )
    height, width = ids.shape
    return Sample(image, ids, replace(record, height=height, width=width, segments=segments))


@dataclass(frozen=True)
class AugmentationSettings:
    """Settings of `augment`; sizes in pixels. A probability of 0 or an empty list switches a transform off."""

    flip_probability: Fraction = 0.5
    # Shorter sides to choose from, and the maximum of the longer side.
    resize_shorter: list[Side] = field(default_factory=lambda: list(range(480, 801, 32)))
    resize_longer_max: Side = 1333
    # Cropping: how often, the shorter sides before it, and the range of the sides of the crop.
    crop_probability: Fraction = 0.5
    crop_resize_shorter: list[Side] = field(default_factory=lambda: [400, 500, 600])
    crop_min: Side = 384
    crop_max: Side = 600
    # How often things of another image are pasted into an image; not in the papers.
    copy_paste_probability: Fraction = 0.0

    def __post_init__(self) -> None:
        require_ranges(self, "train.augmentation")
        if not self.crop_min <= self.crop_max:
            found = f"{self.crop_min}, {self.crop_max}"
            raise ValueError(f"augmentation: expected 1 <= crop_min <= crop_max, found {found}")


def augment(sample: Sample, rng: np.random.Generator, settings: AugmentationSettings) -> Sample:
    """Augment a sample at random. Equal states of `rng` give equal results."""
    if rng.random() < settings.flip_probability:
        sample = flip_horizontal(sample)
    if rng.random() < settings.crop_probability:
        sample = _resize_shorter(sample, rng, settings.crop_resize_shorter, None)
        sample = _random_crop(sample, rng, settings.crop_min, settings.crop_max)
    return _resize_shorter(sample, rng, settings.resize_shorter, settings.resize_longer_max)


def resize_for_inference(image: NDArray[np.uint8], shorter: int, longer: int) -> NDArray[np.uint8]:
    """Resize an (H,W,3) image to its `fitted_size`, keeping the aspect ratio."""
    height, width = fitted_size(image.shape[0], image.shape[1], shorter, longer)
    return image if (height, width) == image.shape[:2] else resize_image(image, height, width)


def fitted_size(height: int, width: int, shorter: int, longer: int | None) -> tuple[int, int]:
    """Scale height and width so that the shorter side is `shorter`, or less if the longer would exceed `longer`."""
    scale = shorter / min(height, width)
    if longer is not None:
        scale = min(scale, longer / max(height, width))
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def _resize_shorter(sample: Sample, rng: np.random.Generator, sizes: list[int], longer: int | None) -> Sample:
    if not sizes:
        return sample
    shorter = sizes[rng.integers(len(sizes))]
    height, width = fitted_size(sample.record.height, sample.record.width, shorter, longer)
    return resize(sample, height, width)


def _random_crop(sample: Sample, rng: np.random.Generator, smallest: int, largest: int) -> Sample:
    """Cut out a window with random sides in smallest..largest, or less if the image is smaller."""
    full = sample.record.height, sample.record.width
    height, width = (int(rng.integers(min(side, smallest), min(side, largest) + 1)) for side in full)
    top, left = int(rng.integers(full[0] - height + 1)), int(rng.integers(full[1] - width + 1))
    return crop(sample, top, left, height, width)
