"""Boxes and centres of masks, against counting pixels."""

import numpy as np
import pytest

from panoptic.mask_places import mask_boxes, mass_centres


@pytest.mark.parametrize("size", [(9, 7), (1, 1), (1, 40), (40, 1), (70, 130)])
def test_boxes_and_centres_are_those_of_the_set_pixels(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((6, *size)) > 0.85
    masks[:, rng.integers(size[0]), rng.integers(size[1])] = True
    for mask, box, centre in zip(masks, mask_boxes(masks), mass_centres(masks), strict=True):
        rows, columns = mask.nonzero()
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(centre, [columns.mean() + 0.5, rows.mean() + 0.5], rtol=1e-6)


def test_masks_may_be_parts_of_larger_ones() -> None:
    large = np.zeros((2, 12, 15), dtype=bool)
    large[:, 4:6, 5:8] = True
    parts = large[:, 3:9, 4:11]
    assert mask_boxes(parts).tolist() == [[1, 1, 4, 3]] * 2
    assert mass_centres(parts).tolist() == [[2.5, 2]] * 2


def test_empty_masks_have_empty_boxes() -> None:
    empty = np.zeros((2, 5, 5), dtype=bool)
    assert not mask_boxes(empty).any()
    assert not mass_centres(empty).any()
    assert mask_boxes(empty[:0]).shape == (0, 4)
    assert mass_centres(empty[:0]).shape == (0, 2)
