"""Paired transforms keep image, id map and segments consistent."""

import numpy as np
import pytest

from panoptic.data.reader import Sample
from panoptic.data.transforms import crop, flip_horizontal, pad, resize
from panoptic.format.segments import Segment
from panoptic.index import ImageRecord
from tests.tiny_dataset import assert_consistent, assert_equal, id_colors, make_sample


@pytest.mark.parametrize("seed", range(5))
def test_flip_mirrors_and_flips_back(seed: int) -> None:
    sample = make_sample(seed)
    flipped = flip_horizontal(sample)
    assert_consistent(flipped)
    assert np.array_equal(flipped.image, id_colors(flipped.ids))
    assert np.array_equal(flipped.ids[:, 0], sample.ids[:, -1])
    assert_equal(flip_horizontal(flipped), sample)


def test_a_flipped_image_of_one_column_can_become_a_tensor() -> None:
    flipped = flip_horizontal(make_sample(0, height=3, width=1))
    assert min(*flipped.image.strides, *flipped.ids.strides) > 0


@pytest.mark.parametrize("seed", range(5))
def test_crop_keeps_image_and_ids_aligned(seed: int) -> None:
    sample = make_sample(seed)
    part = crop(sample, 5, 7, 9, 11)
    assert_consistent(part)
    assert np.array_equal(part.image, id_colors(part.ids))
    assert np.array_equal(part.ids, sample.ids[5:14, 7:18])
    assert_equal(crop(sample, 0, 0, 24, 32), sample)
    assert_equal(crop(crop(sample, 2, 3, 20, 20), 3, 4, 9, 11), part)


@pytest.mark.parametrize("window", [(-1, 0, 4, 4), (0, 0, 25, 4), (0, 30, 4, 4), (0, 0, 0, 4)])
def test_a_crop_outside_the_image_is_refused(window: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="is not inside the image"):
        crop(make_sample(0), *window)


@pytest.mark.parametrize("factor", [2, 3])
def test_enlarging_by_a_whole_factor_repeats_ids(factor: int) -> None:
    sample = make_sample(1)
    large = resize(sample, 24 * factor, 32 * factor)
    assert_consistent(large)
    assert np.array_equal(large.ids, np.kron(sample.ids, np.ones((factor, factor), np.int32)))
    assert_equal(resize(sample, 24, 32), sample)


@pytest.mark.parametrize("size", [(12, 16), (7, 5), (50, 41), (1, 1)])
def test_any_size_is_consistent(size: tuple[int, int]) -> None:
    sample = resize(make_sample(2), *size)
    assert sample.ids.shape == size
    assert_consistent(sample)


def test_resized_ids_stay_in_place() -> None:
    """Image and ids scale about the same point: the middle of a shape moves alike in both."""
    ids = np.zeros((40, 60), np.int32)
    ids[10:21, 14:41] = 9
    image = np.where(ids[..., None] == 9, 255, 0).astype(np.uint8).repeat(3, axis=2)
    record = ImageRecord(1, "", "", 40, 60, (Segment(9, 3, False, 297, (14, 10, 27, 11)),))
    for size in ((57, 91), (23, 31), (33, 77)):
        small = resize(Sample(image, ids, record), *size)
        in_ids = np.argwhere(small.ids == 9).mean(axis=0)
        in_image = np.argwhere(small.image[..., 0] > 127).mean(axis=0)
        assert np.abs(in_ids - in_image).max() < 0.5


def test_pad_adds_void_below_and_right() -> None:
    sample = make_sample(3)
    padded = pad(sample, 30, 40)
    assert_consistent(padded)
    assert np.array_equal(padded.ids[:24, :32], sample.ids)
    assert not padded.ids[24:].any()
    assert not padded.ids[:, 32:].any()
    assert not padded.image[24:].any()
    assert_equal(crop(padded, 0, 0, 24, 32), sample)
    with pytest.raises(ValueError, match="smaller"):
        pad(sample, 23, 40)
