import numpy as np
import pytest
from numpy.typing import NDArray

from panoptic.data.reader import Sample
from panoptic.data.target import make_target
from panoptic.data.transforms import crop, flip_horizontal
from panoptic.format.categories import CategoryTable
from panoptic.format.segments import Segment
from panoptic.index import ImageRecord
from panoptic.io.errors import DatasetError
from tests.tiny_dataset import CATEGORIES, STUFF, THINGS, make_sample

TABLE = CategoryTable.from_json(CATEGORIES)


@pytest.mark.parametrize("seed", range(12))
def test_segments_boxes_and_labels_agree_with_the_id_map(seed: int) -> None:
    sample = crop(make_sample(seed), 1, 2, 20, 25)
    target = make_target(sample, TABLE)
    segments = [segment for segment in sample.record.segments if not segment.is_crowd]
    things = [[segment] for segment in segments if segment.category_id in THINGS]
    stuff = [[segment for segment in segments if segment.category_id == category] for category in STUFF]
    expected = [*things, *filter(None, stuff)]
    assert target.things == len(things)
    assert target.labels.tolist() == [(*THINGS, *STUFF).index(parts[0].category_id) for parts in expected]
    for number, (parts, box) in enumerate(zip(expected, target.boxes_xyxy, strict=True), start=1):
        mask = target.segments == number
        assert np.array_equal(mask, np.isin(sample.ids, [segment.id for segment in parts]))
        rows, columns = np.nonzero(mask)
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize("seed", range(12))
def test_everything_but_void_and_crowd_is_a_segment(seed: int) -> None:
    sample = make_sample(seed)
    left_out = [0, *(segment.id for segment in sample.record.segments if segment.is_crowd)]
    assert np.array_equal(make_target(sample, TABLE).segments == 0, np.isin(sample.ids, left_out))


def test_a_flipped_sample_has_the_flipped_target() -> None:
    sample = make_sample(4)
    target, flipped = make_target(sample, TABLE), make_target(flip_horizontal(sample), TABLE)
    assert np.array_equal(flipped.segments, target.segments[:, ::-1])
    left, top, right, bottom = target.boxes_xyxy.T
    assert np.array_equal(flipped.boxes_xyxy, np.stack([32 - right, top, 32 - left, bottom], axis=1))


def _sample(ids: NDArray[np.int32], segments: tuple[Segment, ...]) -> Sample:
    height, width = ids.shape
    record = ImageRecord(1, "1.png", "1.png", height, width, segments)
    return Sample(np.zeros((height, width, 3), np.uint8), ids, record)


def test_a_void_image_has_an_empty_target() -> None:
    target = make_target(_sample(np.zeros((24, 32), np.int32), ()), TABLE)
    assert not target.segments.any()
    assert target.boxes_xyxy.shape == (0, 4)
    assert (target.labels.shape, target.things) == ((0,), 0)


def test_parts_of_one_stuff_class_are_one_segment() -> None:
    ids = np.zeros((24, 32), np.int32)
    ids[:, :3], ids[:, 9:12] = 1, 2
    segments = Segment(1, 20, False, 72, (0, 0, 3, 24)), Segment(2, 20, False, 72, (9, 0, 3, 24))
    target = make_target(_sample(ids, segments), TABLE)
    assert target.labels.tolist() == [len(THINGS) + 1]
    assert np.array_equal(target.segments, ids > 0)
    assert target.boxes_xyxy.tolist() == [[0, 0, 12, 24]]


def test_more_segments_than_a_map_holds_are_refused() -> None:
    ids = np.arange(1, 32769, dtype=np.int32).reshape(128, 256)
    segments = tuple(Segment(int(key), THINGS[0], False, 1, (0, 0, 1, 1)) for key in ids.flat)
    record = ImageRecord(5, "5.png", "5.png", 128, 256, segments)
    with pytest.raises(DatasetError, match=r"image 5 \(5.png\): 32768 segments, expected at most 32767; divide"):
        make_target(Sample(np.zeros((128, 256, 3), np.uint8), ids, record), TABLE)
