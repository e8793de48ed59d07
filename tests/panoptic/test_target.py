import numpy as np
import pytest
from numpy.typing import NDArray

from panoptic.categories import CategoryTable
from panoptic.index import ImageRecord
from panoptic.reader import Sample
from panoptic.segments import Segment
from panoptic.target import make_target
from panoptic.transforms import crop, flip_horizontal
from tests.tiny_dataset import CATEGORIES, make_sample

TABLE = CategoryTable.from_json(CATEGORIES)


@pytest.mark.parametrize("seed", range(12))
def test_masks_boxes_and_labels_say_what_the_id_map_says(seed: int) -> None:
    sample = crop(make_sample(seed), 1, 2, 20, 25)
    target = make_target(sample, TABLE)
    things = [s for s in sample.record.segments if s.category_id in (3, 7) and not s.is_crowd]
    assert target.thing_labels.tolist() == [(3, 7).index(segment.category_id) for segment in things]
    for mask, box, segment in zip(target.thing_masks, target.thing_boxes_xyxy, things, strict=True):
        assert np.array_equal(mask, sample.ids == segment.id)
        rows, columns = np.nonzero(mask)
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert target.stuff_labels.tolist() == sorted(set(target.stuff_labels.tolist()))
    for mask, label in zip(target.stuff_masks, target.stuff_labels, strict=True):
        ids = [segment.id for segment in sample.record.segments if segment.category_id == (11, 20)[label]]
        assert np.array_equal(mask, np.isin(sample.ids, ids))


@pytest.mark.parametrize("seed", range(12))
def test_no_pixel_has_two_masks_and_void_and_crowd_have_none(seed: int) -> None:
    sample = make_sample(seed)
    target = make_target(sample, TABLE)
    covered = target.thing_masks.sum(axis=0) + target.stuff_masks.sum(axis=0)
    left_out = [0, *(segment.id for segment in sample.record.segments if segment.is_crowd)]
    assert np.array_equal(covered, (~np.isin(sample.ids, left_out)).astype(int))


def test_a_flipped_sample_has_the_flipped_target() -> None:
    sample = make_sample(4)
    target, flipped = make_target(sample, TABLE), make_target(flip_horizontal(sample), TABLE)
    assert np.array_equal(flipped.thing_masks, target.thing_masks[..., ::-1])
    assert np.array_equal(flipped.stuff_masks, target.stuff_masks[..., ::-1])
    left, top, right, bottom = target.thing_boxes_xyxy.T
    assert np.array_equal(flipped.thing_boxes_xyxy, np.stack([32 - right, top, 32 - left, bottom], axis=1))


def _sample(ids: NDArray[np.int32], segments: tuple[Segment, ...]) -> Sample:
    height, width = ids.shape
    record = ImageRecord(1, "1.png", "1.png", height, width, segments)
    return Sample(np.zeros((height, width, 3), np.uint8), ids, record)


def test_a_picture_of_void_has_an_empty_target() -> None:
    target = make_target(_sample(np.zeros((24, 32), np.int32), ()), TABLE)
    assert target.thing_masks.shape == target.stuff_masks.shape == (0, 24, 32)
    assert target.thing_boxes_xyxy.shape == (0, 4)
    assert target.thing_labels.shape == target.stuff_labels.shape == (0,)


def test_segments_of_one_stuff_class_share_a_mask() -> None:
    ids = np.zeros((24, 32), np.int32)
    ids[:, :3], ids[:, 9:12] = 1, 2
    segments = Segment(1, 20, False, 72, (0, 0, 3, 24)), Segment(2, 20, False, 72, (9, 0, 3, 24))
    target = make_target(_sample(ids, segments), TABLE)
    assert target.stuff_labels.tolist() == [1]
    assert np.array_equal(target.stuff_masks[0], ids > 0)
