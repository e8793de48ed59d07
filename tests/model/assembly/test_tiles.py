"""Tiles: they cover the image, and true maps that are cut into tiles join to what they were."""

import tracemalloc
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import torch

from model.assembly.tiles import Tiling, join_tiles
from model.inference.bit_masks import BitMasks
from model.inference.merging import PredictedSegment
from model.inference.post_processing import Instances, PanopticPrediction

Ids = npt.NDArray[np.int32]
THINGS = 3  # labels below are things


def prediction(ids: Ids, labels: Sequence[int], scores: Sequence[float]) -> PanopticPrediction:
    """A prediction whose segments 1..n have these labels and scores; the query of each is its number, twice."""
    count = len(labels)
    areas = np.bincount(ids.ravel(), minlength=count + 1)
    segments = tuple(
        PredictedSegment(key, label, score, int(areas[key]), label < THINGS, key - 1)
        for key, (label, score) in enumerate(zip(labels, scores, strict=True), 1)
    )
    empty = np.zeros(0)
    none = Instances(
        BitMasks(np.zeros((0, 1), np.uint64), (1, 1)), empty.astype(np.float32), empty.astype(int), empty.astype("f4")
    )
    queries = torch.arange(1.0, count + 1)[:, None].expand(count, 2) if count else None
    return PanopticPrediction(ids, segments, none, queries)


def cut(tiling: Tiling, ids: Ids, labels: Sequence[int], rng: np.random.Generator) -> Iterator[PanopticPrediction]:
    """What a perfect network sees of a map in each tile, with ids of its own."""
    height, width = tiling.tile
    for top in tiling.tops:
        for left in tiling.lefts:
            crop = ids[top : top + height, left : left + width]
            found = rng.permutation(np.unique(crop[crop > 0]))
            table = np.zeros(len(labels) + 1, np.int32)
            table[found] = np.arange(1, len(found) + 1)
            yield prediction(table[crop], [labels[key - 1] for key in found], [0.5] * len(found))


def scene(rng: np.random.Generator, size: tuple[int, int]) -> tuple[Ids, list[int]]:
    """Two bands of stuff under rectangles of things, of which some are larger than a tile."""
    height, width = size
    ids, labels = np.full(size, 1, np.int32), [THINGS, THINGS + 1]
    ids[height // 2 :] = 2
    ids[: height // 8] = 0
    for _ in range(12):
        tall, wide = rng.integers(2, 30), rng.integers(2, 30)
        top, left = rng.integers(height - tall), rng.integers(width - wide)
        if ids[top : top + tall, left : left + wide].max() <= 2:
            labels.append(int(rng.integers(THINGS)))
            ids[top : top + tall, left : left + wide] = len(labels)
    return ids, labels


@pytest.mark.parametrize(("tile", "overlap"), [(16, 4), (16, 12), (21, 7), (64, 10), (100, 10)])
@pytest.mark.parametrize("seed", range(4))
def test_a_true_map_in_tiles_joins_to_itself(tile: int, overlap: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids, labels = scene(rng, (53, 70))
    tiling = Tiling.of((53, 70), tile, overlap)
    joined = join_tiles(tiling, cut(tiling, ids, labels, rng))
    pairs = {(int(old), int(new)) for old, new in zip(ids.ravel(), joined.ids.ravel(), strict=True)}
    assert len(pairs) == len(np.unique(ids)) == len(np.unique(joined.ids))
    assert [segment.id for segment in joined.segments] == list(range(1, len(labels) + 1))
    old_of = {new: old for old, new in pairs}
    assert old_of[0] == 0
    for segment in joined.segments:
        assert segment.label == labels[old_of[segment.id] - 1]
        assert segment.area == np.count_nonzero(joined.ids == segment.id)
        assert segment.score == pytest.approx(0.5)


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 16), (40, 100)])
@pytest.mark.parametrize("overlap", [0, 1, 9, 15])
def test_tiles_of_equal_size_cover_the_image(size: tuple[int, int], overlap: int) -> None:
    tiling = Tiling.of(size, 16, overlap)
    image = np.arange(size[0] * size[1], dtype=np.int64).reshape(*size, 1)
    crops = list(tiling.crops(image.astype(np.uint8)))
    assert {crop.shape[:2] for crop in crops} == {(min(size[0], 16), min(size[1], 16))}
    for starts, side in ((tiling.tops, size[0]), (tiling.lefts, size[1])):
        assert starts[0] == 0
        assert starts[-1] + min(side, 16) == side
        assert all(before + 16 - after >= overlap for before, after in pairwise(starts))
    assert len(crops) == len(tiling.tops) * len(tiling.lefts)


@pytest.mark.parametrize(("tile", "overlap"), [(0, 0), (8, 8), (8, -1)])
def test_tiles_that_cannot_overlap_so_are_refused(tile: int, overlap: int) -> None:
    with pytest.raises(ValueError, match="give 0 <= overlap < tile"):
        Tiling.of((20, 20), tile, overlap)


def row(*ids: int) -> Ids:
    return np.array([ids, ids], np.int32)


def join_two(first: PanopticPrediction, second: PanopticPrediction) -> PanopticPrediction:
    """Join two tiles of 2 x 8 pixels that overlap by 4."""
    return join_tiles(Tiling((2, 12), (2, 8), (0,), (0, 4)), [first, second])


def test_scores_are_weighted_by_area_and_the_largest_part_gives_the_query() -> None:
    first = prediction(row(1, 0, 0, 2, 2, 2, 2, 2), [2, 0], [0.1, 0.4])
    second = prediction(row(1, 1, 1, 1, 1, 1, 0, 2), [0, 1], [0.7, 0.2])
    joined = join_two(first, second)
    np.testing.assert_array_equal(joined.ids, row(3, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 2))
    segment = joined.segments[0]
    assert segment.score == pytest.approx((10 * 0.4 + 12 * 0.7) / 22)
    assert (segment.area, segment.label) == (14, 0)
    query = joined.embedding(segment)
    assert query is not None
    assert query.tolist() == [1, 1]


def test_a_part_of_another_category_joins_the_larger_one() -> None:
    first = prediction(row(1, 1, 1, 1, 1, 1, 1, 1), [0], [0.6])
    second = prediction(row(1, 1, 1, 1, 1, 0, 0, 0), [1], [0.6])
    (segment,) = join_two(first, second).segments
    assert (segment.label, segment.area) == (0, 18)


def test_neighbors_of_one_category_stay_two() -> None:
    first = prediction(row(0, 0, 0, 1, 1, 1, 2, 2), [0, 0], [0.6, 0.6])
    second = prediction(row(1, 1, 2, 2, 2, 2, 0, 0), [0, 0], [0.6, 0.6])
    joined = join_two(first, second)
    np.testing.assert_array_equal(joined.ids[0] > 0, np.array([0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0], bool))
    assert sorted(segment.area for segment in joined.segments) == [6, 8]


def test_a_thing_seen_whole_keeps_its_pixels_beyond_the_middle() -> None:
    whole = prediction(row(2, 2, 2, 1, 1, 1, 1, 2), [0, THINGS], [0.6, 0.9])
    unseen = prediction(row(1, 1, 1, 1, 1, 1, 1, 1), [THINGS], [0.9])
    joined = join_two(whole, unseen)
    np.testing.assert_array_equal(joined.ids, row(1, 1, 1, 2, 2, 2, 2, 1, 1, 1, 1, 1))


def test_a_fragment_at_a_border_gives_way_to_what_the_other_side_sees() -> None:
    whole = prediction(row(2, 2, 2, 1, 1, 1, 1, 2), [0, THINGS], [0.6, 0.9])
    fragment = prediction(row(1, 1, 1, 2, 2, 2, 2, 2), [1, THINGS], [0.9, 0.9])
    joined = join_two(whole, fragment)
    np.testing.assert_array_equal(joined.ids, row(1, 1, 1, 2, 2, 2, 2, 1, 1, 1, 1, 1))
    assert [segment.label for segment in joined.segments] == [THINGS, 0]
    assert joined.segments[1].score == pytest.approx(0.6)


def test_instances_are_the_things_of_the_map() -> None:
    rng = np.random.default_rng(3)
    ids, labels = scene(rng, (53, 70))
    tiling = Tiling.of((53, 70), 24, 8)
    joined = join_tiles(tiling, cut(tiling, ids, labels, rng))
    things = [segment for segment in joined.segments if segment.is_thing]
    found = joined.instances
    assert found.labels.tolist() == [thing.label for thing in things]
    np.testing.assert_array_equal(found.masks, [joined.ids == thing.id for thing in things])
    np.testing.assert_array_equal(list(found.each_mask()), found.masks)
    for mask, box in zip(found.each_mask(), found.boxes_xyxy.astype(int).tolist(), strict=True):
        assert mask[box[1] : box[3], box[0] : box[2]].sum() == mask.sum()


def test_nothing_found_is_an_empty_map() -> None:
    nothing = prediction(row(*[0] * 8), [], [])
    joined = join_two(nothing, nothing)
    assert not joined.ids.any()
    assert (joined.segments, joined.queries, len(joined.instances.bits)) == ((), None, 0)


def test_memory_is_that_of_the_map_and_a_row_of_tiles() -> None:
    tiling = Tiling.of((2000, 2000), 128, 32)
    tile = np.zeros((128, 128), np.int32)
    tile[30:90, 30:90] = 1
    tracemalloc.start()
    try:
        joined = join_tiles(tiling, (prediction(tile.copy(), [0], [0.5]) for _ in range(len(tiling.tops) ** 2)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(joined.segments) == len(tiling.tops) ** 2
    assert peak < 3 * joined.ids.nbytes
