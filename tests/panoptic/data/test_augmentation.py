from collections.abc import Callable

import numpy as np
import pytest

from panoptic.data.transforms import AugmentationSettings, augment, fitted_size, resize_for_inference
from tests.tiny_dataset import assert_consistent, assert_equal, make_sample

OFF = AugmentationSettings(flip_probability=0, crop_probability=0, resize_shorter=[])


def test_every_variant_is_consistent_and_within_its_limits() -> None:
    settings = AugmentationSettings(
        resize_shorter=[16, 20, 27], resize_longer_max=33, crop_resize_shorter=[18, 30], crop_min=9, crop_max=22
    )
    rng = np.random.default_rng(0)
    shapes = set()
    for seed in range(60):
        variant = augment(make_sample(seed), rng, settings)
        assert_consistent(variant)
        assert max(variant.ids.shape) <= 33
        shapes.add(variant.ids.shape)
    assert len(shapes) > 10


def test_equal_seeds_give_equal_variants() -> None:
    settings = AugmentationSettings(resize_shorter=[16, 20], crop_resize_shorter=[], crop_min=9, crop_max=22)
    first, second = ([augment(make_sample(s), np.random.default_rng(s), settings) for s in range(9)] for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert_equal(one, other)


def test_with_every_transform_off_nothing_changes() -> None:
    sample = make_sample(0)
    for seed in range(9):
        assert_equal(augment(sample, np.random.default_rng(seed), OFF), sample)


def test_half_of_the_images_are_flipped() -> None:
    settings = AugmentationSettings(crop_probability=0, resize_shorter=[])
    sample, rng = make_sample(0), np.random.default_rng(0)
    flipped = sum(not np.array_equal(augment(sample, rng, settings).ids, sample.ids) for _ in range(400))
    assert 160 < flipped < 240


def test_a_crop_larger_than_the_image_takes_all_of_it() -> None:
    settings = AugmentationSettings(
        flip_probability=0, crop_probability=1, crop_resize_shorter=[], crop_min=100, crop_max=200, resize_shorter=[]
    )
    sample = make_sample(0)
    assert_equal(augment(sample, np.random.default_rng(0), settings), sample)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(480, 640, (800, 1067)), (640, 480, (1067, 800)), (427, 640, (800, 1199)), (300, 900, (444, 1333))],
)
def test_published_sizes(height: int, width: int, expected: tuple[int, int]) -> None:
    assert fitted_size(height, width, 800, 1333) == expected


def test_inference_size_keeps_the_aspect() -> None:
    image = np.zeros((24, 32, 3), np.uint8)
    assert resize_for_inference(image, 48, 100).shape == (48, 64, 3)
    assert resize_for_inference(image, 48, 50).shape == (38, 50, 3)
    assert resize_for_inference(image, 24, 100) is image


@pytest.mark.parametrize(
    "make",
    [
        lambda: AugmentationSettings(flip_probability=1.5),
        lambda: AugmentationSettings(crop_min=700),
        lambda: AugmentationSettings(crop_min=0),
        lambda: AugmentationSettings(resize_shorter=[0]),
    ],
)
def test_impossible_settings_are_refused(make: Callable[[], AugmentationSettings]) -> None:
    with pytest.raises(ValueError, match="augmentation"):
        make()
