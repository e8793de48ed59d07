"""Things pasted from another image: which, where, and what becomes of the segments below."""

import numpy as np
import pytest

from panoptic.data.copy_paste import LEAST_VISIBLE, paste_things
from panoptic.data.reader import Sample
from panoptic.format.id_map import VOID
from tests.tiny_dataset import THINGS, assert_consistent, assert_equal, id_colors, make_sample


def pasted(sample: Sample, source: Sample, seed: int, things: tuple[int, ...] = THINGS) -> Sample:
    return paste_things(sample, source, np.random.default_rng(seed), things)


@pytest.mark.parametrize("seed", range(20))
def test_pasted_pixels_are_those_of_things_and_no_others_change(seed: int) -> None:
    sample, source = make_sample(seed), make_sample(100 + seed)
    before = make_sample(seed)
    result = pasted(sample, source, seed)
    assert_equal(sample, before)
    assert_consistent(result)
    assert result.ids.shape == sample.ids.shape
    own = {segment.id for segment in sample.record.segments}
    new = [segment for segment in result.record.segments if segment.id not in own]
    allowed = {one.id for one in source.record.segments if one.category_id in THINGS and not one.is_crowd}
    below = np.isin(source.ids, list(allowed))
    changed = (result.image != sample.image).any(-1)
    assert not (changed & ~below).any(), "only things are pasted"
    assert np.array_equal(result.image[changed], id_colors(source.ids)[changed])
    assert all(segment.category_id in THINGS and not segment.is_crowd for segment in new)
    for segment in new:
        (source_id,) = np.unique(source.ids[result.ids == segment.id])
        assert (result.ids[source.ids == source_id] == segment.id).all(), "pasted whole"
    kept = np.isin(result.ids, list(own))
    assert np.array_equal(result.ids[kept], sample.ids[kept])


def test_half_of_the_things_are_pasted() -> None:
    sample, source = make_sample(0), make_sample(1)
    own = {segment.id for segment in sample.record.segments}
    things = [one for one in source.record.segments if one.category_id in THINGS and not one.is_crowd]
    counts = [
        sum(segment.id not in own for segment in pasted(sample, source, seed).record.segments) for seed in range(200)
    ]
    assert np.mean(counts) == pytest.approx(len(things) / 2, abs=0.3)


def test_equal_states_give_equal_results() -> None:
    for seed in range(5):
        assert_equal(pasted(make_sample(0), make_sample(1), seed), pasted(make_sample(0), make_sample(1), seed))


def test_without_things_nothing_changes() -> None:
    assert_equal(pasted(make_sample(0), make_sample(1), 0, things=()), make_sample(0))


@pytest.mark.parametrize(("height", "width"), [(48, 64), (12, 16), (32, 24), (3, 90), (1, 1)])
def test_a_source_of_another_size_is_scaled_to_fit(height: int, width: int) -> None:
    sample = make_sample(0)
    for seed in range(10):
        result = pasted(sample, make_sample(1, height=height, width=width), seed)
        assert_consistent(result)
        assert result.ids.shape == sample.ids.shape


def test_a_segment_of_which_little_is_left_becomes_void() -> None:
    seen = 0
    for seed in range(60):
        sample, source = make_sample(seed), make_sample(100 + seed)
        result = pasted(sample, source, seed)
        areas = {one.id: one.area for one in sample.record.segments}
        left = {one.id: one.area for one in result.record.segments}
        for id_, area in areas.items():
            visible = (sample.ids == id_) & (result.ids == id_)
            assert id_ not in left or left[id_] >= LEAST_VISIBLE * area
            unchanged = (sample.ids == id_) & (result.image == sample.image).all(-1)
            if id_ not in left and unchanged.any():
                seen += 1
                assert not visible.any()
                assert (result.ids[unchanged] == VOID).all()
    assert seen, "the case occurs"
