"""Merging and writing the masks of a large image holds no more than a few of them unpacked."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.harness.drawn_masks import draw_found
from model.complexity.memory import peak_resident_bytes, reset_peak, resident_bytes
from model.inference.merging import MergingSettings
from model.inference.post_processing import ImageSizes
from model.inference.predict import ImagePrediction
from panoptic.format.categories import Category, CategoryTable
from panoptic.index.records import ImageRecord
from stages.predict import instance_results

SIZE = (2000, 2000)
MASKS = 60
CATEGORIES = CategoryTable(
    tuple(Category(id_, f"thing {id_}", True, (id_, 0, 0)) for id_ in range(1, 81)),
    tuple(Category(id_, f"stuff {id_}", False, (id_, 0, 0)) for id_ in range(81, 134)),
)


@pytest.mark.parametrize("has_boxes", [True, False])
def test_the_instances_of_a_large_image_are_unpacked_one_by_one(has_boxes: bool) -> None:
    """All masks at once would be 240 MB, and the values of four at a time 64 MB."""
    found = draw_found(MASKS, (50, 50), ImageSizes(SIZE, SIZE, SIZE), (80, 53))
    found = found if has_boxes else replace(found, boxes_cxcywh=None)
    record = ImageRecord(1, "large.png", "large.png", *SIZE, ())
    reset_peak()
    before = resident_bytes()
    merged = found.merge(MergingSettings(score_threshold=0.0))
    results = instance_results(ImagePrediction(record, merged.ids, (), merged.instances), CATEGORIES)
    assert peak_resident_bytes() - before < 200e6
    assert len(results) > 30
    assert np.unique(merged.ids).size > 20
