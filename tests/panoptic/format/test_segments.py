import numpy as np
import pytest

from panoptic.format.segments import Extent, measure_segments


@pytest.mark.parametrize("seed", range(20))
def test_extents_equal_those_counted_pixel_by_pixel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 12, 2)
    ids = rng.choice([0, 1, 5, 1 << 23, (1 << 24) - 1], size=(height, width)).astype(np.int32)
    pixels: dict[int, list[tuple[int, int]]] = {}
    for y in range(height):
        for x in range(width):
            pixels.setdefault(int(ids[y, x]), []).append((x, y))
    expected = {}
    for segment_id, places in pixels.items():
        left, top = min(x for x, _ in places), min(y for _, y in places)
        right, bottom = max(x for x, _ in places) + 1, max(y for _, y in places) + 1
        expected[segment_id] = Extent(len(places), (left, top, right - left, bottom - top))
    expected.pop(0, None)
    assert measure_segments(ids) == expected


def test_void_has_no_segment() -> None:
    assert measure_segments(np.zeros((3, 4), np.int32)) == {}
    assert measure_segments(np.zeros((0, 4), np.int32)) == {}
