"""ADE20K's rule against sets of pixels, on random maps of every kind of disagreement."""

from collections import defaultdict

import numpy as np
import pytest
from numpy.typing import NDArray

from panoptic.datasets.ade20k.maps import draw_segments, list_segments, segment_id
from panoptic.datasets.ade20k.things import CLASS_OF_THING
from panoptic.format.id_map import VOID, decode_id_map, encode_id_map, ids_to_rgb
from panoptic.io.errors import DatasetError

STUFF = tuple(sorted(set(range(1, 151)) - set(CLASS_OF_THING)))
Pixel = tuple[int, int]


def _random_maps(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Blocks of stuff, things and other, with instances that agree with them or do not; numbers have gaps."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 30, size=2)
    classes = np.array([0, *rng.choice(STUFF, 3), *rng.choice(CLASS_OF_THING, 3)])
    semantic = np.kron(rng.choice(classes, size=(10, 10)), np.ones((3, 3), int))[:height, :width].astype(np.uint8)
    instances = np.zeros((height, width), np.int32)
    for number in rng.choice(np.arange(1, 256), int(rng.integers(0, 6)), replace=False).tolist():
        top, left = int(rng.integers(0, height)), int(rng.integers(0, width))
        thing = int(rng.integers(1, 101))
        instances[top : top + int(rng.integers(1, 20)), left : left + int(rng.integers(1, 20))] = thing + 256 * number
    return semantic, instances


def _by_pixels(semantic: NDArray[np.uint8], instances: NDArray[np.int32]) -> dict[tuple[int, int], set[Pixel]]:
    """The pixels of (number, class), one pixel at a time; stuff has number 0."""
    pixels: dict[tuple[int, int], set[Pixel]] = defaultdict(set)
    for place in np.ndindex(*semantic.shape):
        code, class_number = int(instances[place]), int(semantic[place])
        if code:
            pixels[code // 256, CLASS_OF_THING[code % 256 - 1]].add((place[0], place[1]))
        elif class_number in STUFF:
            pixels[0, class_number].add((place[0], place[1]))
    return pixels


@pytest.mark.parametrize("seed", range(40))
def test_random_maps_agree_with_sets_of_pixels(seed: int) -> None:
    semantic, instances = _random_maps(seed)
    expected = _by_pixels(semantic, instances)
    ids = draw_segments(semantic, instances, "image")
    segments = list_segments(ids, "image")
    assert ids.dtype == np.int32
    assert len(segments) == len(expected)
    covered = np.zeros(ids.shape, bool)
    for segment, key in zip(segments, sorted(expected), strict=True):
        pixels = expected[key]
        rows, columns = ([place[axis] for place in pixels] for axis in (0, 1))
        box = (min(columns), min(rows), max(columns) - min(columns) + 1, max(rows) - min(rows) + 1)
        assert set(zip(*(axis.tolist() for axis in np.nonzero(ids == segment.id)), strict=True)) == pixels
        assert (segment.id, segment.category_id, segment.is_crowd) == (segment_id(key[1], key[0]), key[1] - 1, False)
        assert (segment.area, segment.box_xywh) == (len(pixels), box)
        covered |= ids == segment.id
    assert (ids[~covered] == VOID).all()
    np.testing.assert_array_equal(decode_id_map(encode_id_map(ids), "image"), ids)


def test_ids_are_unique_and_fit_a_color() -> None:
    ids = [segment_id(one) for one in STUFF]
    ids += [segment_id(one, number) for one in CLASS_OF_THING for number in range(1, 256)]
    assert len(set(ids)) == len(ids) == 50 + 100 * 255
    assert min(ids) >= 1
    assert max(ids) < 1 << 24


@pytest.mark.parametrize("class_number", CLASS_OF_THING)
def test_the_first_instances_of_a_class_have_distinct_colors(class_number: int) -> None:
    ids = np.array([[VOID, *(segment_id(class_number, number) for number in range(1, 13))]], np.int32)
    colors = ids_to_rgb(ids)[0].astype(int)
    apart = np.abs(colors[:, None] - colors).sum(axis=-1)
    assert apart[~np.eye(len(colors), dtype=bool)].min() >= 40


def test_covered_stuff_is_not_a_segment_and_the_rest_is_measured_without_it() -> None:
    semantic = np.array([[3, 3, 3, 4]], np.uint8)
    instances = np.array([[0, 0, 4 + 256, 4 + 256]], np.int32)
    (sky, person) = list_segments(draw_segments(semantic, instances, "image"), "image")
    assert (sky.category_id, sky.area, sky.box_xywh) == (2, 2, (0, 0, 2, 1))
    assert (person.category_id, person.area, person.box_xywh) == (12, 2, (2, 0, 2, 1))


def test_the_blue_channel_is_ignored() -> None:
    semantic, instances = _random_maps(1)
    blue = np.full(instances.shape, 7 << 16, np.int32)
    np.testing.assert_array_equal(
        draw_segments(semantic, instances | blue, "a"), draw_segments(semantic, instances, "a")
    )


@pytest.mark.parametrize(("thing", "number"), [(0, 4), (101, 1), (255, 255)])
def test_an_invalid_instance_is_named(thing: int, number: int) -> None:
    instances = np.array([[0, thing + 256 * number, 1 + 256]], np.int32)
    with pytest.raises(DatasetError, match=rf"a\.png: red and green.* {thing} and {number}; expected 1 to 100 and"):
        draw_segments(np.zeros((1, 3), np.uint8), instances, "a.png")


def test_a_thing_without_a_number_is_not_an_instance() -> None:
    ids = draw_segments(np.array([[13, 3]], np.uint8), np.array([[4, 4]], np.int32), "a.png")
    assert ids.tolist() == [[0, segment_id(3)]]


def test_two_things_with_one_number_are_named() -> None:
    ids = draw_segments(np.zeros((1, 2), np.uint8), np.array([[9 + 256 * 5, 4 + 256 * 5]], np.int32), "a.png")
    with pytest.raises(DatasetError, match=r"a\.png: things 4 and 9 share the number 5"):
        list_segments(ids, "a.png")
