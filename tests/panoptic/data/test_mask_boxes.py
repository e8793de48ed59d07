"""Boxes and centers of masks, compared with counting pixels."""

import numpy as np
import pytest

from panoptic.data.target import mask_boxes, segment_moments

SIZES = pytest.mark.parametrize("size", [(9, 7), (1, 1), (1, 40), (40, 1), (70, 130)])


@SIZES
def test_boxes_are_those_of_the_set_pixels(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((6, *size)) > 0.85
    masks[:, rng.integers(size[0]), rng.integers(size[1])] = True
    for mask, box in zip(masks, mask_boxes(masks), strict=True):
        rows, columns = mask.nonzero()
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@SIZES
def test_centers_and_areas_are_those_of_the_segments_pixels(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    segments = rng.integers(0, 5, size).astype(np.int16)
    present = [segments == number for number in range(1, 5) if (segments == number).any()]
    segments = sum(number * mask for number, mask in enumerate(present, start=1)) + np.zeros(size, np.int16)
    moments = segment_moments(segments, mask_boxes(np.array(present).reshape(-1, *size)))
    for mask, found in zip(present, moments, strict=True):
        rows, columns = mask.nonzero()
        np.testing.assert_allclose(found, [columns.mean() + 0.5, rows.mean() + 0.5, mask.sum()], rtol=1e-6)


def test_masks_may_be_parts_of_larger_ones() -> None:
    large = np.zeros((2, 12, 15), dtype=bool)
    large[:, 4:6, 5:8] = True
    assert mask_boxes(large[:, 3:9, 4:11]).tolist() == [[1, 1, 4, 3]] * 2


def test_empty_masks_have_empty_boxes_and_no_center() -> None:
    empty = np.zeros((2, 5, 5), dtype=bool)
    assert not mask_boxes(empty).any()
    assert mask_boxes(empty[:0]).shape == (0, 4)
    missing = segment_moments(np.zeros((5, 5), np.int16), np.array([[1, 1, 3, 4]], np.float32))
    assert missing.tolist() == [[0, 0, 0]]
    assert segment_moments(np.zeros((5, 5), np.int16), np.zeros((0, 4), np.float32)).shape == (0, 3)
