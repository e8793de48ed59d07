"""Random choice of transforms for training: the published recipe (DETR's), with every number a setting.

Flip; then one of two ways: resize, or resize, crop and resize again. The resizes keep the aspect ratio.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from panoptic.reader import Sample
from panoptic.transforms import crop, flip_horizontal, resize, resize_image


@dataclass(frozen=True)
class AugmentationSettings:
    """Sizes in pixels. A probability of 0 or an empty list switches a part off."""

    flip_probability: float = 0.5
    # Shorter sides to choose from, and what the longer side may not exceed.
    resize_shorter: list[int] = field(default_factory=lambda: list(range(480, 801, 32)))
    resize_longer_max: int = 1333
    # The second way: how often, the shorter sides before the crop, and the range of the crop's sides.
    crop_probability: float = 0.5
    crop_resize_shorter: list[int] = field(default_factory=lambda: [400, 500, 600])
    crop_min: int = 384
    crop_max: int = 600

    def __post_init__(self) -> None:
        for name in ("flip_probability", "crop_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"augmentation: {name} should lie in 0..1, found {getattr(self, name)}")
        if not 1 <= self.crop_min <= self.crop_max:
            found = f"{self.crop_min}, {self.crop_max}"
            raise ValueError(f"augmentation: expected 1 <= crop_min <= crop_max, found {found}")
        if min([self.resize_longer_max, *self.resize_shorter, *self.crop_resize_shorter]) < 1:
            raise ValueError("augmentation: sizes to resize to should be at least 1 pixel")


def augment(sample: Sample, rng: np.random.Generator, settings: AugmentationSettings) -> Sample:
    """A random variant of a sample. Equal states of `rng` give equal variants."""
    if rng.random() < settings.flip_probability:
        sample = flip_horizontal(sample)
    if rng.random() < settings.crop_probability:
        sample = _resize_shorter(sample, rng, settings.crop_resize_shorter, None)
        sample = _random_crop(sample, rng, settings.crop_min, settings.crop_max)
    return _resize_shorter(sample, rng, settings.resize_shorter, settings.resize_longer_max)


def resize_for_inference(image: NDArray[np.uint8], shorter: int, longer: int) -> NDArray[np.uint8]:
    """Resize an (H,W,3) picture to its `fitted_size`, keeping the aspect ratio."""
    height, width = fitted_size(image.shape[0], image.shape[1], shorter, longer)
    return image if (height, width) == image.shape[:2] else resize_image(image, height, width)


def fitted_size(height: int, width: int, shorter: int, longer: int | None) -> tuple[int, int]:
    """Height and width scaled so that the shorter side is `shorter`, or less where the longer would exceed `longer`."""
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
    """A window with sides drawn from smallest..largest, or less where the picture is smaller."""
    full = sample.record.height, sample.record.width
    height, width = (int(rng.integers(min(side, smallest), min(side, largest) + 1)) for side in full)
    top, left = int(rng.integers(full[0] - height + 1)), int(rng.integers(full[1] - width + 1))
    return crop(sample, top, left, height, width)
