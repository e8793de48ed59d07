"""Maps are bright where weight is, and points are where they were sampled, in the color of their level."""

import numpy as np

from panoptic.visualization.maps import POINT_COLORS, Grid, outline, pointed, shaded

BLACK = np.zeros((60, 90, 3), np.uint8)


def test_weights_are_bright_where_they_are_large() -> None:
    weights = np.zeros((4, 6), np.float32)
    weights[1, 4] = 1e-5
    drawn = shaded(BLACK, weights).sum(axis=2)
    y, x = divmod(int(drawn.argmax()), 90)
    assert abs(y - 22) <= 8
    assert abs(x - 67) <= 8
    assert drawn[50, 10] < 40
    assert shaded(BLACK, np.zeros((4, 6), np.float32)).max() < 40, "no weight at all is dark, not an error"


def test_points_are_drawn_where_they_are_and_the_heaviest_are_largest() -> None:
    points = np.array([[[0.25, 0.5]], [[0.75, 0.5]], [[1.5, 0.5]]], np.float32)
    drawn = pointed(BLACK, points, np.array([[0.9], [0.1], [0.5]], np.float32), (0.5, 0.1))
    assert tuple(drawn[30, 22]) == POINT_COLORS[0]
    assert tuple(drawn[30, 67]) == POINT_COLORS[1]
    first, second, third = ((drawn == color).all(axis=2).sum() for color in POINT_COLORS[:3])
    assert first > 2 * second > 0
    assert third == 0
    assert drawn[6, 45].min() > 200, "the origin"


def test_an_outline_keeps_the_inside_and_dims_the_rest() -> None:
    image = np.full((60, 90, 3), 200, np.uint8)
    mask = np.zeros((30, 45), bool)
    mask[5:25, 10:30] = True
    drawn = outline(image, mask)
    assert drawn[30, 40].tolist() == [200] * 3
    assert drawn[3, 80].tolist() == [90] * 3


def test_a_grid_mounts_rows_of_different_length() -> None:
    grid = Grid(np.full((96, 192, 3), 60, np.uint8), 96)
    assert grid.image.shape == (48, 96, 3)
    grid.add({"one": grid.image, "two": grid.image})
    grid.add({"three": grid.image})
    drawn = grid.drawn()
    assert drawn.shape == (2 * (48 + 30) + 10, 2 * (96 + 10) + 10, 3)
    assert (drawn[30 : 30 + 48, 116 : 116 + 96] == 60).all()
    assert (drawn[78 + 30 :, 116:] == 255).all()
