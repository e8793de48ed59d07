import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from panoptic.evaluation import overlaps
from panoptic.evaluation.overlaps import (
    COMPILED,
    Overlaps,
    count_overlaps,
    count_overlaps_by_numpy,
    count_overlaps_compiled,
)
from panoptic.format.id_map import MAX_ID

Count = Callable[[NDArray[np.int32], NDArray[np.int32], int], Overlaps]
IdMap = NDArray[np.int32]
SHAPES = [(1, 1), (1, 12), (12, 1), (3, 3), (5, 8), (9, 7), (16, 24), (11, 33)]
DISTANCES = [0, 1, 2, 3, 4, 7, 40]


@pytest.fixture(params=["compiled", "numpy"])
def count(request: pytest.FixtureRequest) -> Count:
    if request.param == "compiled" and not COMPILED:
        pytest.skip("the compiled core is not built")
    return count_overlaps_compiled if request.param == "compiled" else count_overlaps_by_numpy


def maps(shape: tuple[int, int], seed: int = 0) -> list[IdMap]:
    """Patches, noise of few and of many ids, stripes along either side, and one id."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    return [
        rng.choice(np.array([0, 3, 700_000], np.int32), (30, 30))[rows // 5, columns // 6],
        rng.integers(0, 2, shape, np.int32) * MAX_ID,
        rng.integers(0, MAX_ID + 1, shape, np.int32),
        (rows // 4).astype(np.int32),
        (columns // rng.integers(3, 11)).astype(np.int32),
        np.full(shape, 9, np.int32),
    ]


def brute_force(ground_truth: IdMap, prediction: IdMap, distance: int) -> list[tuple[int, ...]]:
    """Pixel by pixel, from the definition of a band."""
    height, width = ground_truth.shape

    def in_band(ids: IdMap, y: int, x: int) -> bool:
        reach = range(-distance, distance + 1)
        near = [(y + down, x + right) for down, right in product(reach, reach)]
        return any(not (0 <= v < height and 0 <= u < width) or ids[v, u] != ids[y, x] for v, u in near)

    counts: dict[tuple[int, int], list[int]] = {}
    for y, x in product(range(height), range(width)):
        bands = [distance > 0 and in_band(ids, y, x) for ids in (ground_truth, prediction)]
        pair = counts.setdefault((int(ground_truth[y, x]), int(prediction[y, x])), [0, 0, 0, 0])
        for column, adds in enumerate((True, *bands, all(bands))):
            pair[column] += adds
    return [(*pair, *counted) for pair, counted in sorted(counts.items())]


def table(counted: Overlaps) -> list[tuple[int, ...]]:
    return list(zip(*(field.tolist() for field in astuple(counted)), strict=True))


@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")
def test_the_compiled_core_exists_where_it_can_be_built() -> None:
    assert COMPILED, "run `make install`"


def test_the_compiled_core_is_used_where_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = np.zeros((2, 2), np.int32)
    for compiled, used in ((True, "count_overlaps_compiled"), (False, "count_overlaps_by_numpy")):
        calls: list[int] = []
        monkeypatch.setattr(overlaps, "COMPILED", compiled)
        monkeypatch.setattr(overlaps, used, lambda *_, calls=calls: calls.append(1))
        count_overlaps(ids, ids)
        assert calls == [1]


def test_an_image_by_hand(count: Count) -> None:
    ground_truth = np.array([[1, 1, 1, 2, 2, 2]] * 3, np.int32)
    prediction = np.full((3, 6), 5, np.int32)
    counted = count(ground_truth, prediction, 1)
    assert all(field.dtype == np.int64 for field in astuple(counted))
    # A column touches the other segment on each side; of 18 pixels 4 lie off the image's rim.
    assert table(counted) == [(1, 5, 9, 8, 7, 7), (2, 5, 9, 8, 7, 7)]


@pytest.mark.parametrize("shape", SHAPES)
def test_counts_follow_the_definition(count: Count, shape: tuple[int, int]) -> None:
    for distance in DISTANCES[:5]:
        for ground_truth, prediction in zip(maps(shape), reversed(maps(shape, 1)), strict=True):
            assert table(count(ground_truth, prediction, distance)) == brute_force(ground_truth, prediction, distance)


@pytest.mark.skipif(not COMPILED, reason="the compiled core is not built")
@pytest.mark.parametrize("shape", [*SHAPES, (61, 64), (70, 131)])
def test_compiled_core_and_numpy_agree(shape: tuple[int, int]) -> None:
    for distance in DISTANCES:
        for ground_truth, prediction in product(maps(shape), maps(shape, 1)):
            expected = count_overlaps_by_numpy(ground_truth, prediction, distance)
            assert table(count_overlaps_compiled(ground_truth, prediction, distance)) == table(expected)


def test_columns_turned_into_rows_and_mirrored_count_the_same(count: Count) -> None:
    ground_truth, prediction = maps((16, 24))[0], maps((16, 24), 1)[0]
    expected = table(count(ground_truth, prediction, 2))
    for turned in (np.transpose, np.flipud, np.fliplr):
        assert table(count(turned(ground_truth), turned(prediction), 2)) == expected


def test_swapping_the_maps_swaps_the_columns(count: Count) -> None:
    ground_truth, prediction = maps((16, 24))[0], maps((16, 24), 1)[1]
    swapped = sorted((b, a, n, q, p, both) for a, b, n, p, q, both in table(count(ground_truth, prediction, 2)))
    assert table(count(prediction, ground_truth, 2)) == swapped


def test_a_map_without_pixels_has_no_pairs(count: Count) -> None:
    for shape, distance in product([(0, 0), (0, 5), (5, 0)], (0, 2)):
        ids = np.zeros(shape, np.int32)
        assert table(count(ids, ids, distance)) == []


def test_the_order_in_memory_does_not_matter(count: Count) -> None:
    wide = maps((16, 48))[0]
    part = wide[1::2, ::2]
    expected = table(count(part.copy(), part.copy(), 2))
    for ids in (part, np.asfortranarray(part)):
        assert table(count(ids, ids, 2)) == expected


def test_threads_count_side_by_side(count: Count) -> None:
    ids = maps((61, 64))[0]
    expected = table(count(ids, ids, 3))
    with ThreadPoolExecutor(4) as pool:
        for counted in pool.map(lambda _: count(ids, ids, 3), range(16)):
            assert table(counted) == expected


@pytest.mark.parametrize("wrong", [-1, MAX_ID + 1])
def test_ids_too_large_for_a_color_are_refused(count: Count, wrong: int) -> None:
    right, beyond = np.array([[1, 2]], np.int32), np.array([[1, wrong]], np.int32)
    for pair in ((right, beyond), (beyond, right)):
        with pytest.raises(ValueError, match=rf"16777215, found .*{wrong}"):
            count(*pair, 0)


def test_maps_of_different_sizes_and_negative_distances_are_refused(count: Count) -> None:
    ids = np.zeros((2, 3), np.int32)
    for ground_truth, prediction, distance in ((ids, ids.T, 0), (ids[0], ids[0], 0), (ids, ids, -1)):
        with pytest.raises(ValueError, match="give two of one size"):
            count(ground_truth, prediction, distance)
