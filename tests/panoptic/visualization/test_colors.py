import numpy as np
import pytest

from panoptic.format.categories import Category, CategoryTable
from panoptic.format.segments import SegmentLabel
from panoptic.visualization.colors import CLEAR_THING, ColorPicker, Rgb, contrast, to_lab


def _table(*colors: Rgb, is_thing: bool = True) -> CategoryTable:
    return CategoryTable.of(Category(key, f"class {key}", is_thing, color) for key, color in enumerate(colors, 1))


def _apart(first: Rgb, second: Rgb) -> float:
    lab = to_lab(np.array([first, second], np.uint8))
    return float(np.linalg.norm(lab[0] - lab[1]))


def test_lab_and_contrast_are_those_of_the_standards() -> None:
    expected = [[0, 0, 0], [100, 0, 0], [53.24, 80.09, 67.20]]
    lab = to_lab(np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0]], np.uint8))
    assert lab == pytest.approx(np.array(expected), abs=0.3)
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((255, 255, 255), (119, 119, 119)) == pytest.approx(4.478, abs=0.001)


def test_a_category_keeps_a_color_that_can_be_seen() -> None:
    table = _table((220, 60, 60))
    assert ColorPicker(table).pick([SegmentLabel(5, 1, False)], {}) == {5: (220, 60, 60)}


@pytest.mark.parametrize("is_thing", [True, False])
@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (0, 0, 70), (227, 255, 205), (128, 128, 128)])
def test_colors_that_vanish_on_dark_or_bright_images_are_evened_out(color: Rgb, is_thing: bool) -> None:
    drawn = ColorPicker(_table(color, is_thing=is_thing)).pick([SegmentLabel(5, 1, False)], {})[5]
    assert 40 < to_lab(np.array([drawn], np.uint8))[0, 0] < 80


def test_a_category_without_color_gets_the_same_in_every_image() -> None:
    table = CategoryTable.from_json([{"id": 1, "name": "cup", "isthing": 1}, {"id": 2, "name": "cat", "isthing": 1}])
    cup, cat = SegmentLabel(5, 1, False), SegmentLabel(6, 2, False)
    both, alone = ColorPicker(table).pick([cup, cat], {}), ColorPicker(table).pick([cat], {})
    assert both[6] == alone[6]
    assert _apart(both[5], both[6]) > CLEAR_THING


def test_twelve_instances_of_a_class_differ_in_pairs() -> None:
    instances = [SegmentLabel(key, 1, False) for key in range(1, 13)]
    colors = ColorPicker(_table((220, 20, 60))).pick(instances, {})
    assert min(_apart(colors[a], colors[b]) for a in colors for b in colors if a < b) > 12


@pytest.mark.parametrize("seed", range(5))
def test_neighbors_differ_clearly_in_crowds_of_one_class(seed: int) -> None:
    """A grid of 15 x 10 persons, each with up to eight around it."""
    side = 15
    instances = [SegmentLabel(key, 1, False) for key in range(1, 10 * side + 1)]
    steps = (1, side - 1, side, side + 1)
    neighbors = {
        one.id: {
            one.id + sign * step
            for step in steps
            for sign in (-1, 1)
            if abs((one.id + sign * step) % side - one.id % side) < 2
        }
        for one in instances
    }
    order = np.random.default_rng(seed).permutation(len(instances)).tolist()
    colors = ColorPicker(_table((220, 20, 60))).pick([instances[position] for position in order], neighbors)
    apart = [_apart(colors[key], colors[other]) for key in colors for other in neighbors[key] if other in colors]
    assert min(apart) > 15


def test_neighbors_of_classes_with_one_color_differ() -> None:
    table = CategoryTable.of([Category(1, "cup", True, (9, 80, 61)), Category(2, "wall", False, (9, 80, 61))])
    segments = [SegmentLabel(5, 1, False), SegmentLabel(6, 2, False)]
    apart = ColorPicker(table).pick(segments, {5: {6}, 6: {5}})
    assert _apart(apart[5], apart[6]) > 20


def test_chosen_colors_stay_and_others_keep_away_from_them() -> None:
    picker = ColorPicker(_table((220, 60, 60), (220, 60, 60)))
    colors = picker.pick([SegmentLabel(5, 1, False), SegmentLabel(6, 2, False)], {6: {5}}, {5: (220, 60, 60)})
    assert colors[5] == (220, 60, 60)
    assert _apart(*colors.values()) >= CLEAR_THING
