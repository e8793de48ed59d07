"""Mask-wise merging against the argmax per pixel, in scenes whose scores are known by hand."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from model.explanation.lost_segments import LostSegment, argmax_owners, lost_segments
from model.explanation.merging import MASKS, OTHERS, PIXELS, MergingCases, describe_merging, remerged
from model.explanation.observing import ObservedImage
from model.explanation.recording import Recording
from model.inference.merging import MergingSettings
from model.inference.post_processing import FoundMasks, ImageSizes, find_masks
from model.inference.settings import InferenceSettings
from panoptic.evaluation.image import SegmentedImage
from panoptic.format.categories import Category, CategoryTable
from panoptic.format.segments import SegmentLabel
from panoptic.report.explained import IMAGES, Estimate
from panoptic.report.variants import MERGING_FILE, MergingComparison
from tests.model.inference.merging_outputs import random_parts
from tests.model.network.tiny_network import tiny_network

SIDE = 20
LAPTOP, KEYBOARD, CUP, WALL, FLOOR = range(5)
TABLE = CategoryTable.of(
    Category(key + 1, name, key < WALL, (40 * key, 200 - 40 * key, 90))
    for key, name in enumerate(("laptop", "keyboard", "cup", "wall", "floor"))
)
QUERIES = (7, 21, 33)
SETTINGS = InferenceSettings(merging=MergingSettings())


def box(rows: int) -> Tensor:
    """The first rows of a laptop of 10 x 10 pixels."""
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[4 : 4 + rows, 4:14] = True
    return mask


def scene(taken_rows: int, has_keyboard: bool) -> ObservedImage:
    """A probable laptop, an improbable keyboard with larger values on some of its rows, and a wall around them.

    The keyboard is there or is not; the ground truth of the laptop is what the keyboard leaves of it.
    """
    laptop, keyboard = box(10), box(taken_rows)
    masks = torch.stack([0.8 * laptop, 0.95 * keyboard, 0.9 * ~laptop])
    ids = np.where(laptop.numpy(), 1, 3).astype(np.int32)
    if has_keyboard:
        ids[keyboard.numpy()] = 2
    labels = {1: LAPTOP, 2: KEYBOARD, 3: WALL}
    segments = [SegmentLabel(key, labels[key] + 1, False) for key in np.unique(ids).tolist()]
    return observed(masks, torch.tensor([LAPTOP, KEYBOARD, WALL]), SegmentedImage(ids, segments))


def observed(masks: Tensor, labels: Tensor, ground_truth: SegmentedImage | None) -> ObservedImage:
    size = (SIDE, SIDE)
    probabilities, numbers = torch.tensor([0.9, 0.3, 0.9]), torch.tensor(QUERIES)
    found = FoundMasks(
        *(masks, labels, probabilities, None, None, 2, WALL, ImageSizes(size, size, size)), query_numbers=numbers
    )
    return ObservedImage(
        name="desk.jpg",
        pixels=np.full((*size, 3), 120, np.uint8),
        network=tiny_network(),
        recording=Recording(),
        position=0,
        found=found,
        prediction=found.merge(SETTINGS.merging),
        categories=TABLE,
        settings=SETTINGS,
        ground_truth=ground_truth,
    )


def only_lost(image: ObservedImage) -> LostSegment:
    (lost,) = lost_segments(remerged(image, MASKS), remerged(image, PIXELS))
    return lost


def test_the_argmax_gives_half_a_probable_laptop_to_an_improbable_keyboard() -> None:
    lost = only_lost(scene(taken_rows=5, has_keyboard=False))
    assert lost.taker is not None
    assert (lost.owner.number, str(lost.owner)) == (0, "query 7: laptop 0.90")
    assert (lost.taker.number, str(lost.taker)) == (1, "query 21: keyboard 0.30")
    assert lost.taken == 0.5
    assert lost.match.iou == 1
    assert lost.gain == pytest.approx(1 - 1 / 3), "of laptop, keyboard and wall only the wall is right"
    assert lost.caption == (
        "query 7: laptop 0.90; the argmax gives 50% of it to query 21: keyboard 0.30; "
        "mask-wise merging adds 66.7 PQ within the image"
    )


def test_nothing_is_lost_where_the_argmax_is_right_or_merging_is_equal() -> None:
    for image in (scene(taken_rows=4, has_keyboard=True), scene(taken_rows=0, has_keyboard=False)):
        assert lost_segments(remerged(image, MASKS), remerged(image, PIXELS)) == []


def test_counts_scores_and_differences_by_hand(tmp_path: Path) -> None:
    cases = MergingCases(TABLE, drawn=2)
    for image in (scene(5, has_keyboard=False), scene(4, has_keyboard=True), scene(0, has_keyboard=False)):
        cases.add(image)
    cases.add(observed(torch.zeros(3, SIDE, SIDE), torch.tensor([LAPTOP, KEYBOARD, WALL]), None))
    found = cases.result(tmp_path / IMAGES, resamples=200)
    assert found is not None
    assert found.images == 3, "an image without ground truth does not count"
    assert tuple(other.method for other in found.others) == OTHERS
    pixel, pixel_class, detr = found.others
    # Laptops: IoU 1, 0.6 (with the keyboard's pixels) and 1; the keyboard is dropped; walls are exact.
    assert found.pq.value == pytest.approx((2.6 / 3 + 0 + 1) / 3)
    # Laptops: missed, 1 and 1; keyboards: one where none is, and one; walls are exact.
    assert pixel.pq.value == pytest.approx((2 / 2.5 + 1 / 1.5 + 1) / 3)
    assert pixel.gain.value == pytest.approx(found.pq.value - pixel.pq.value)
    assert (pixel.better, pixel.worse) == (1, 1)
    # 0.3 x 0.95 is never above 0.9 x 0.8: the keyboard gets nothing, as by masks.
    assert (pixel_class.better, pixel_class.worse) == (0, 0)
    assert pixel_class.gain == Estimate(0, 0, 0)
    # DETR's drops neither half of the first laptop, and neither matches; the other scenes are right.
    assert detr.pq.value == pytest.approx((2 / 3 + 1 / 1.5 + 1) / 3)
    assert (detr.better, detr.worse) == (1, 1)
    for estimate in (found.pq, pixel.pq, pixel.gain):
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low < estimate.value < estimate.high
    (drawing,) = found.drawings
    assert "keyboard" in drawing.caption
    assert cv2.imread(str(tmp_path / IMAGES / drawing.file)) is not None
    (tmp_path / MERGING_FILE).write_bytes(found.encode())
    assert MergingComparison.read(tmp_path / MERGING_FILE) == found
    lines = list(describe_merging(found))
    assert lines[0].endswith("higher in 1 of 3 images, lower in 1")


def test_the_largest_gains_of_different_images_are_kept_and_none_is_drawn_on_request(tmp_path: Path) -> None:
    for drawn, files in ((0, []), (1, ["merging-01.png"]), (2, ["merging-01.png", "merging-02.png"])):
        cases = MergingCases(TABLE, drawn)
        for rows in (5, 6, 7):
            cases.add(replace(scene(rows, has_keyboard=False), name=f"{rows}.jpg"))
        found = cases.result(tmp_path / str(drawn), resamples=0)
        assert found is not None
        assert [drawing.file for drawing in found.drawings] == files
        assert found.pq.low is None, "without resamples there are no intervals"


def test_without_ground_truth_that_counts_there_is_no_comparison(tmp_path: Path) -> None:
    cases, image = MergingCases(TABLE, drawn=1), scene(5, has_keyboard=False)
    assert image.ground_truth is not None
    crowd = [replace(segment, is_crowd=True) for segment in image.ground_truth.segments]
    cases.add(replace(image, ground_truth=replace(image.ground_truth, segments=crowd)))
    assert cases.result(tmp_path, resamples=10) is None


@pytest.mark.parametrize("seed", range(6))
def test_owners_are_those_of_the_merging_by_argmax(seed: int) -> None:
    size = (24, 20)
    settings = MergingSettings("pixel", score_threshold=0.1, mask_threshold=0.3, overlap_things=0.9, overlap_stuff=0.9)
    found = find_masks(random_parts(seed).output(), 0, ImageSizes(size, size, size))
    owners, prediction = argmax_owners(found, settings), found.merge(settings)
    assert prediction.segments
    for segment in prediction.segments:
        own = np.unique(owners[prediction.ids == segment.id])
        assert segment.candidate in own
        labels = found.labels[torch.from_numpy(own)].tolist()
        assert set(labels) == {segment.label}
        assert len(own) == 1 or not segment.is_thing
    assert not prediction.ids[owners < 0].any()
