"""Masks of polygons, circles and small masks."""

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from panoptic.instances.rle import Rle
from panoptic.io.errors import DatasetError
from panoptic.tools.convert.shapes import Point, circle_mask, paste_mask, polygons_mask, union

HEIGHT, WIDTH = 40, 50
FINE = 8  # samples along each side of a pixel


def _decoded(mask: Rle) -> NDArray[np.bool_]:
    return coco_mask.decode(mask).astype(bool)


def _coverage(points: list[Point]) -> NDArray[np.float64]:
    """Compute the fraction of each pixel inside a polygon by the even-odd rule at many points per pixel."""
    x = (np.arange(WIDTH * FINE) + 0.5) / FINE
    y = ((np.arange(HEIGHT * FINE) + 0.5) / FINE)[:, None]
    inside = np.zeros((HEIGHT * FINE, WIDTH * FINE), bool)
    for (x1, y1), (x2, y2) in zip(points, [*points[1:], points[0]], strict=True):
        if y1 != y2:
            crosses = (y1 <= y) != (y2 <= y)
            inside ^= crosses & (x < x1 + (y - y1) * (x2 - x1) / (y2 - y1))
    fractions: NDArray[np.float64] = inside.reshape(HEIGHT, FINE, WIDTH, FINE).mean(axis=(1, 3))
    return fractions


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("reach", [0.0, 0.5])  # 0.5: beyond the edges by half the image's size
def test_a_polygon_mask_covers_the_pixels_inside(seed: int, reach: float) -> None:
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
    radius = rng.uniform(0.4, 1, 7) * (0.5 + reach)
    points = [
        (WIDTH * (0.5 + r * np.cos(a)), HEIGHT * (0.5 + r * np.sin(a))) for a, r in zip(angles, radius, strict=True)
    ]
    found, fraction = _decoded(polygons_mask([points], HEIGHT, WIDTH, "x")), _coverage(points)
    assert found[fraction == 1].mean() > 0.99
    assert not found[fraction == 0].any() or found[fraction == 0].mean() < 0.01
    assert found.sum() == pytest.approx(fraction.sum(), rel=0.03)


def test_a_polygon_on_the_pixel_grid_is_exact() -> None:
    found = _decoded(polygons_mask([[(3, 5), (10, 5), (10, 9), (3, 9)]], HEIGHT, WIDTH, "x"))
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[5:9, 3:10] = True
    assert np.array_equal(found, expected)


def test_a_circle_has_the_expected_area_and_extent() -> None:
    found = _decoded(circle_mask((20, 15), (20, 25), HEIGHT, WIDTH))
    rows, columns = np.nonzero(found)
    assert found.sum() == pytest.approx(np.pi * 100, rel=0.02)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (10, 29, 5, 24)


@pytest.mark.parametrize(("left", "top"), [(0, 0), (7, 9), (-2, -1), (47, 38), (60, 60), (-9, 3)])
def test_a_pasted_mask_is_cropped_to_the_image(left: int, top: int) -> None:
    small = np.random.default_rng(0).random((5, 6)) < 0.5
    expected = np.zeros((HEIGHT, WIDTH), bool)
    for row, column in np.argwhere(small).tolist():
        if 0 <= row + top < HEIGHT and 0 <= column + left < WIDTH:
            expected[row + top, column + left] = True
    assert np.array_equal(_decoded(paste_mask(small, left, top, HEIGHT, WIDTH)), expected)


def test_a_union_covers_the_pixels_of_all_masks() -> None:
    masks = [circle_mask((x, 20), (x, 26), HEIGHT, WIDTH) for x in (10, 14, 40)]
    assert np.array_equal(_decoded(union(masks)), np.any([_decoded(mask) for mask in masks], axis=0))


@pytest.mark.parametrize("points", [[(1.0, 1.0), (5.0, 5.0)], [(1.0, 1.0), (1e12, 5.0), (3.0, 3.0)]])
def test_polygons_without_area_or_far_outside_are_refused(points: list[Point]) -> None:
    with pytest.raises(DatasetError, match=r"somewhere: .*draw"):
        polygons_mask([points], HEIGHT, WIDTH, "somewhere")
