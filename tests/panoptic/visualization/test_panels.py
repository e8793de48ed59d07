import numpy as np
import pytest
from numpy.typing import NDArray

from panoptic.format.categories import CategoryTable
from panoptic.format.results import ResultSegment
from panoptic.format.segments import SegmentLabel
from panoptic.visualization import Segmentation, side_by_side
from tests.tiny_dataset import CATEGORIES, random_image

TABLE = CategoryTable.from_json(CATEGORIES)
BALLS = [SegmentLabel(1, 3, False), SegmentLabel(2, 3, False)]


def _panels(image: NDArray[np.uint8], count: int = 3) -> list[NDArray[np.uint8]]:
    """Cut out the panels, which are between white gaps of 10 pixels and below titles of 30."""
    width = (image.shape[1] - (count + 1) * 10) // count
    lefts = [10 + number * (width + 10) for number in range(count)]
    assert all((image[30:, left - 10 : left] == 255).all() for left in lefts)
    return [image[30:-10, left : left + width] for left in lefts]


@pytest.mark.parametrize(("size", "enlarged"), [((24, 32), (288, 384)), ((400, 300), (400, 300))])
def test_three_panels_are_of_readable_size(size: tuple[int, int], enlarged: tuple[int, int]) -> None:
    image = random_image(np.random.default_rng(0), 1, *size)
    results = [ResultSegment(segment.id, segment.category_id, score=0.5) for segment in image.segments]
    ground_truth, prediction = Segmentation(image.ids, image.segments), Segmentation(image.ids, results)
    drawn = side_by_side(image.image, ground_truth, prediction, TABLE)
    assert drawn.dtype == np.uint8
    assert [panel.shape for panel in _panels(drawn)] == [(*enlarged, 3)] * 3


def test_things_of_one_class_differ_and_matches_share_a_color() -> None:
    image = np.zeros((40, 400, 3), np.uint8)
    ids = np.repeat(np.repeat(np.array([[1, 2]], np.int32), 200, axis=1), 40, axis=0)
    swapped = np.array([0, 2, 1], np.int32)[ids]
    drawn = side_by_side(image, Segmentation(ids, BALLS), Segmentation(swapped, BALLS), TABLE)
    _, ground_truth, prediction = _panels(drawn)
    left, right = ground_truth[2, 20], ground_truth[2, 380]
    assert np.abs(left.astype(int) - right).max() > 30
    assert np.array_equal(prediction[2, 20], left)
    assert np.array_equal(prediction[2, 380], right)


def test_void_and_empty_images_can_be_drawn() -> None:
    void = Segmentation(np.zeros((30, 30), np.int32), [])
    assert len(_panels(side_by_side(np.zeros((30, 30, 3), np.uint8), void, void, TABLE))) == 3


def test_the_title_says_that_nothing_was_found() -> None:
    image = random_image(np.random.default_rng(0), 1, 24, 32)
    ground_truth = Segmentation(image.ids, image.segments)
    nothing = Segmentation(np.zeros_like(image.ids), [])
    found, empty = (side_by_side(image.image, ground_truth, one, TABLE)[:30] for one in (ground_truth, nothing))
    predicted = 2 * found.shape[1] // 3
    assert np.array_equal(found[:, :predicted], empty[:, :predicted])
    assert not np.array_equal(found[:, predicted:], empty[:, predicted:])


def test_what_is_missing_has_no_panel() -> None:
    image = random_image(np.random.default_rng(0), 1, 24, 32)
    segmentation = Segmentation(image.ids, image.segments)
    annotated = _panels(side_by_side(image.image, segmentation, None, TABLE), 2)
    predicted = _panels(side_by_side(image.image, None, segmentation, TABLE), 2)
    assert np.array_equal(annotated, predicted)
    assert annotated[0].shape == (288, 384, 3)


def test_enlarged_borders_run_straight_through_stairs() -> None:
    """A border along a diagonal moves by about a pixel a row, instead of by 12 every 12 rows."""
    ids = np.tri(30, dtype=np.int32) + 1
    ball_and_sky = [SegmentLabel(1, 3, False), SegmentLabel(2, 11, False)]
    drawn = side_by_side(np.zeros((30, 30, 3), np.uint8), None, Segmentation(ids, ball_and_sky), TABLE)
    panel = _panels(drawn, 2)[1]
    is_sky = (panel == panel[-1, 0]).all(axis=2)
    steps = np.diff(is_sky.argmin(axis=1)[30:100])  # above the names
    assert len(panel) == 360
    assert 0 <= steps.min() <= steps.max() <= 2
