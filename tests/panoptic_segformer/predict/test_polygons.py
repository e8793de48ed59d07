"""Polygons of masks: exact without tolerance, few and faithful with it, holes and parts included."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from panoptic_segformer.predict.polygons import filled, mask_polygons


def test_without_tolerance_they_fill_to_the_mask() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        mask = rng.random(rng.integers(1, 12, 2)) < rng.random()
        if not mask.any():
            continue
        polygons = mask_polygons(mask, tolerance=0)
        parts, _ = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
        assert len(polygons) == parts - 1
        assert np.array_equal(filled(polygons, mask.shape), mask)


def test_a_ring_is_one_polygon_of_few_corners() -> None:
    rows, columns = np.mgrid[:300, :400]
    distance = np.hypot((rows - 150) / 120, (columns - 200) / 180)
    mask = (distance < 1) & (distance > 0.3)
    (polygon,) = mask_polygons(mask)
    (exact,) = mask_polygons(mask, tolerance=0)
    assert len(polygon) < 0.5 * len(exact)
    found = filled([polygon], mask.shape)
    assert (found & mask).sum() / (found | mask).sum() > 0.99
    assert not found[150, 200]


@pytest.mark.parametrize("mask", [np.eye(9, dtype=bool), np.ones((1, 1), bool), np.ones((1, 30), bool)])
def test_what_is_thin_keeps_its_pixels(mask: NDArray[np.bool_]) -> None:
    assert np.array_equal(filled(mask_polygons(mask), mask.shape), mask)


def test_the_largest_part_comes_first() -> None:
    mask = np.zeros((20, 20), bool)
    mask[0:2, 0:2] = mask[8:18, 5:15] = True
    assert [polygon.min(axis=0).tolist() for polygon in mask_polygons(mask)] == [[5, 8], [0, 0]]
