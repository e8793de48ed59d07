"""Semantic maps, compared with looking up every pixel: both bit depths, and decoding their PNGs."""

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from panoptic.datasets.shards import encode_semantic_map, make_semantic_map, void_label
from panoptic.format.categories import CategoryTable
from tests.tiny_dataset import CATEGORIES, random_images


def _many_categories(count: int) -> CategoryTable:
    return CategoryTable.from_json([{"id": 5 * number, "name": "x", "isthing": 0} for number in range(count)])


def test_every_pixel_has_the_label_of_its_segment() -> None:
    categories = CategoryTable.from_json(CATEGORIES)
    crowds = 0
    for image in random_images(seed=1, count=6):
        found = make_semantic_map(image.ids, image.segments, categories)
        known = {segment.id: segment for segment in image.segments}
        for place, name in np.ndenumerate(image.ids):
            segment = known.get(int(name))
            expected = 255 if segment is None or segment.is_crowd else categories.label_of(segment.category_id)
            assert found[place] == expected
            crowds += segment is not None and segment.is_crowd
    assert crowds


def test_things_come_first_whatever_the_category_ids() -> None:
    (image,) = random_images(seed=2, count=1)
    first = image.segments[0]
    ids = np.full((2, 3), first.id, np.int32)
    labels = {}
    for category in (3, 7, 11, 20):
        segment = replace(first, category_id=category, is_crowd=False)
        labels[category] = make_semantic_map(ids, [segment], CategoryTable.from_json(CATEGORIES)).tolist()
    assert labels == {category: [[label] * 3] * 2 for label, category in enumerate((3, 7, 11, 20))}


@pytest.mark.parametrize(("count", "kind", "void"), [(254, np.uint8, 255), (255, np.uint16, 65535)])
def test_more_classes_than_a_byte_holds_take_two(count: int, kind: type, void: int) -> None:
    (image,) = random_images(seed=3, count=1)
    categories = _many_categories(count)
    segments = [replace(image.segments[0], category_id=5 * (count - 1), is_crowd=False)]
    found = make_semantic_map(image.ids, segments, categories)
    assert void_label(categories) == void
    assert found.dtype == kind
    assert np.array_equal(found, np.where(image.ids == segments[0].id, count - 1, void))
    with Image.open(BytesIO(encode_semantic_map(found))) as read:
        assert read.mode == ("L" if kind is np.uint8 else "I;16")
        assert np.array_equal(np.asarray(read), found)
    assert encode_semantic_map(found) == encode_semantic_map(found.copy())


def test_an_image_without_segments_is_void() -> None:
    found = make_semantic_map(np.full((3, 2), 9, np.int32), [], CategoryTable.from_json(CATEGORIES))
    assert found.tolist() == [[255, 255]] * 3
