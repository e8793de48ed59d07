import numpy as np
import pytest

from panoptic.format.results import ResultSegment
from panoptic.format.segments import SegmentLabel
from panoptic.visualization import overlay, painted
from panoptic.visualization.colors import to_lab
from panoptic.visualization.painting import paint
from panoptic.visualization.regions import Regions
from panoptic.visualization.style import Style
from tests.panoptic.visualization.scenes import BALL, SKY, TABLE, WATER, mosaic


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (3, 2), (24, 32), (160, 128), (480, 640)])
def test_size_is_kept_inputs_are_not_changed_and_drawing_repeats(size: tuple[int, int]) -> None:
    ids, segments = mosaic(*size, 5)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    ids.flags.writeable = image.flags.writeable = False
    drawn = overlay(image, ids, segments, TABLE)
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert np.array_equal(drawn, overlay(image, ids, segments, TABLE))


def test_images_that_are_views_are_drawn_like_copies() -> None:
    ids, segments = mosaic(60, 80, 5)
    image = np.random.default_rng(0).integers(0, 256, (80, 60, 3), np.uint8).transpose(1, 0, 2)
    turned = np.ascontiguousarray(ids.T).T
    assert np.array_equal(overlay(image, turned, segments, TABLE), overlay(image.copy(), ids, segments, TABLE))


@pytest.mark.parametrize("brightness", [0, 128, 255])
def test_void_is_hatched_evenly_and_segments_are_not(brightness: int) -> None:
    image = np.full((480, 640, 3), brightness, np.uint8)
    ids = np.zeros((480, 640), np.int32)
    ids[:, 320:] = 1
    drawn = painted(image, ids, [ResultSegment(1, SKY)], TABLE).astype(int)
    assert len(np.unique(drawn[:, 320:].reshape(-1, 3), axis=0)) == 1
    void = drawn[:, :320]
    stripes, ground = np.unique(void.reshape(-1, 3), axis=0)[::-1]
    assert (stripes - ground).min() >= 12
    period = Style.of(480, 640).hatch
    assert np.array_equal(void[period:], void[:-period])
    assert np.array_equal(void[1:, :-1], void[:-1, 1:])
    assert not np.array_equal(void[:, 1:], void[:, :-1])


def test_ids_without_a_segment_are_void() -> None:
    image = np.full((60, 80, 3), 90, np.uint8)
    listed = np.where(np.arange(80) < 40, 5, 0).astype(np.int32) * np.ones((60, 1), np.int32)
    segments = [ResultSegment(5, BALL)]
    for other in (3, 6, 1 << 24, -4):
        unlisted = np.where(listed == 0, np.int32(other), listed)
        assert np.array_equal(overlay(image, unlisted, segments, TABLE), overlay(image, listed, segments, TABLE))


def test_things_are_outlined_inside_and_stuff_is_not() -> None:
    image = np.full((480, 640, 3), 100, np.uint8)
    ids = np.full((480, 640), 1, np.int32)
    ids[100:300, 200:400] = 2
    drawn = painted(image, ids, [ResultSegment(1, SKY), ResultSegment(2, BALL)], TABLE).astype(int)
    outside = ids == 1
    assert (drawn[outside] == drawn[0, 0]).all()
    inside = drawn[200, 200:300]
    line = Style.of(480, 640).line
    changed = np.flatnonzero((inside != inside[-1]).any(axis=1))
    assert changed.tolist() == list(range(round(line)))
    assert inside[0].tolist() == [0, 200, 0]  # the full color of a ball


def test_stuff_is_tinted_less_than_things() -> None:
    image = np.full((480, 640, 3), 128, np.uint8)
    ids = np.full((480, 640), 1, np.int32)
    ids[:, 320:] = 2
    drawn = to_lab(painted(image, ids, [ResultSegment(1, WATER), ResultSegment(2, BALL)], TABLE)[240, [100, 500]])
    stuff, thing = np.hypot(drawn[:, 1], drawn[:, 2]).tolist()
    assert thing > 2 * stuff > 0


@pytest.mark.parametrize("brightness", [10, 128, 245])
def test_adjacent_instances_differ_where_they_are_drawn(brightness: int) -> None:
    ids, _ = mosaic(240, 320, 40)
    segments = [ResultSegment(key, BALL) for key in np.unique(ids[ids > 0]).tolist()]
    drawn = painted(np.full((240, 320, 3), brightness, np.uint8), ids, segments, TABLE)
    regions = Regions.of(ids, segments)
    inner = {one.id: np.flatnonzero((ids == one.id) & (regions.edge_distance() > 3)) for one in segments}
    lab = {key: to_lab(drawn.reshape(-1, 3)[places[:1]])[0] for key, places in inner.items() if len(places)}
    pairs = [(a, b) for a, others in regions.neighbors().items() for b in others if a in lab and b in lab]
    assert len(pairs) > 100
    assert min(float(np.linalg.norm(lab[a] - lab[b])) for a, b in pairs) > 8


def test_neighbors_touch_or_are_a_few_pixels_apart() -> None:
    ids = np.zeros((60, 60), np.int32)
    ids[:20, :20], ids[:20, 20:40], ids[22:40, :20], ids[50:, 50:] = 1, 1 << 23, 3, 4
    segments = [SegmentLabel(key, BALL, False) for key in (1, 1 << 23, 3, 4)]
    assert Regions.of(ids, segments).neighbors() == {1: {1 << 23, 3}, 1 << 23: {1}, 3: {1}}


def test_sizes_grow_with_the_image() -> None:
    sizes = [(100, 75), (160, 128), (640, 480), (6000, 4000)]
    styles = [Style.of(height, width) for width, height in sizes]
    assert [style.font for style in styles] == [9, 9, 15, 96]
    assert [style.hatch for style in styles] == [4, 4, 9, 57]
    assert [style.line for style in styles] == pytest.approx([0.9, 0.9, 2.0, 12.8], abs=0.1)


def test_more_than_65536_segments_can_be_drawn() -> None:
    ids = np.arange(1, 257 * 257 + 1, dtype=np.int32).reshape(257, 257)
    segments = [ResultSegment(key, SKY) for key in range(1, 257 * 257 + 1)]
    colors = {key: (key >> 16, key >> 8 & 255, key & 255) for key in range(1, 257 * 257 + 1)}
    black, style = np.zeros((257, 257, 3), np.uint8), Style.of(257, 257)
    drawn = paint(black, Regions.of(ids, segments), colors, TABLE, style)
    tints = np.array(list(colors.values())).reshape(257, 257, 3)
    assert np.abs(drawn - style.stuff_opacity * tints).max() <= 1
