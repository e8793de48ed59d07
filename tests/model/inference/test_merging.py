"""Merging against a pixel-by-pixel account of its rules, and the cases at their borders."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.inference.bit_masks import BitMasks, segment_masks
from model.inference.merging import METHODS, ImageSizes, MergingSettings, merge, predict_panoptic
from tests.model.inference.merging_outputs import (
    QUERIES,
    SETTINGS,
    STUFF,
    THINGS,
    Parts,
    box_mask,
    joint_output,
    predict_one,
    random_parts,
)


def brute_force(masks: Tensor, scores: Tensor, labels: Tensor) -> dict[tuple[int, int], int]:
    """Pixel -> 1-based rank of its segment, by the published rules and with each stuff class as one segment."""
    taken: dict[tuple[int, int], int] = {}
    kept: list[int] = []
    for score, position in sorted((-float(score), position) for position, score in enumerate(scores)):
        pixels = [(y, x) for y in range(masks.shape[1]) for x in range(masks.shape[2]) if masks[position, y, x]]
        label = int(labels[position])
        joins = label >= THINGS and label in kept
        foreign = [pixel for pixel in pixels if pixel in taken and not (joins and kept[taken[pixel] - 1] == label)]
        allowed = 0.4 if label < THINGS else 0.2
        free = set(pixels) - taken.keys()
        if -score < 0.25 or not free or len(foreign) / len(pixels) > allowed:
            continue
        if not joins:
            kept.append(label)
        taken |= dict.fromkeys(free, kept.index(label) + 1 if joins else len(kept))
    return taken


@pytest.mark.parametrize("seed", range(20))
def test_merge_equals_brute_force(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 11, (12, 2, 2), generator=generator).sort(dim=1).values
    masks = torch.stack([box_mask(*corner.flatten().tolist()) for corner in corners])
    scores = torch.rand(12, generator=generator)
    labels = torch.randint(0, THINGS + STUFF, (12,), generator=generator)
    ids, segments = merge(BitMasks.of(masks), scores, labels, THINGS, SETTINGS)
    expected = brute_force(masks, scores, labels)
    assert {(int(y), int(x)): int(ids[y, x]) for y, x in zip(*ids.nonzero(), strict=True)} == expected
    assert ids.dtype == np.int32
    assert [segment.id for segment in segments] == list(range(1, len(segments) + 1))
    assert [segment.area for segment in segments] == np.bincount(ids.ravel(), minlength=len(segments) + 1)[1:].tolist()
    assert all(segment.is_thing == (segment.label < THINGS) for segment in segments)


@pytest.mark.parametrize(
    ("label", "rows_taken", "kept"), [(0, 4, True), (0, 5, False), (THINGS, 2, True), (THINGS, 3, False)]
)
def test_overlap_limits(label: int, rows_taken: int, kept: bool) -> None:
    """0.4 of a thing and 0.2 of stuff may be taken, not more."""
    masks = torch.stack((box_mask(0, 0, rows_taken, 10), box_mask(0, 0, 10, 10)))
    _, segments = merge(BitMasks.of(masks), torch.tensor([0.9, 0.8]), torch.tensor([1, label]), THINGS, SETTINGS)
    assert len(segments) == 1 + kept


def test_a_covered_mask_is_left_out_even_where_any_overlap_is_allowed() -> None:
    masks = torch.stack([box_mask(0, 0, 5, 5), box_mask(1, 1, 4, 4)])
    settings = replace(SETTINGS, overlap_things=1.0, overlap_stuff=1.0)
    ids, segments = merge(BitMasks.of(masks), torch.tensor([0.9, 0.8]), torch.tensor([0, THINGS]), THINGS, settings)
    assert [segment.id for segment in segments] == np.unique(ids[ids > 0]).tolist() == [1]


def test_score_threshold_is_included() -> None:
    masks = torch.stack((box_mask(0, 0, 2, 2), box_mask(4, 4, 6, 6)))
    _, segments = merge(BitMasks.of(masks), torch.tensor([0.25, 0.2499]), torch.tensor([0, 1]), THINGS, SETTINGS)
    assert [segment.label for segment in segments] == [0]


def test_nothing_found() -> None:
    ids, segments = merge(
        BitMasks.of(torch.zeros(0, 3, 5) > 0), torch.zeros(0), torch.zeros(0).long(), THINGS, SETTINGS
    )
    assert not ids.any()
    assert ids.shape == (3, 5)
    assert segments == ()


def test_quality_counts_one_pixel_more() -> None:
    masks = torch.zeros(11, 4, 5)
    masks[10, 1:3, 1:4] = torch.tensor([0.6, 0.9, 0.5])
    segmented, quality = segment_masks(masks, (4, 5), 0.5)
    assert segmented.areas().tolist() == [0] * 10 + [4]
    torch.testing.assert_close(quality, torch.tensor([0.0] * 10 + [2 * 1.5 / 5]))


@pytest.mark.parametrize("seed", range(5))
def test_scores_and_order_of_instances(seed: int) -> None:
    output = random_parts(seed).output()
    prediction = predict_one(output, size=(24, 20))
    masks, quality = segment_masks(output.query_masks.masks[-1, 0], (24, 20), 0.5)
    expected = output.selection.scores[0] * quality**2
    order = expected.argsort(descending=True).tolist()
    instances = prediction.instances
    np.testing.assert_allclose(instances.scores, expected[order], rtol=1e-6)
    np.testing.assert_array_equal(instances.masks, masks.unpack()[order])
    np.testing.assert_array_equal(instances.labels, output.selection.labels[0, order])
    assert (instances.boxes_xyxy >= 0).all()
    assert (instances.boxes_xyxy <= [20, 24, 20, 24]).all()
    assert prediction.ids.shape == (24, 20)
    assert [s.score for s in prediction.segments] == sorted((s.score for s in prediction.segments), reverse=True)


def test_queries_that_only_fill_up_are_left_out() -> None:
    parts = random_parts(0)
    prediction = predict_one(replace(parts, valid=parts.valid & False).output())
    assert len(prediction.instances.masks) == 0
    assert not any(segment.is_thing for segment in prediction.segments)


@pytest.mark.parametrize("method", METHODS)
def test_padding_is_cropped_before_resizing(method: str) -> None:
    """An image in a larger batch gives what its own part of the masks gives."""
    parts, settings = random_parts(3), replace(SETTINGS, method=method)
    padded = replace(
        parts,
        masks=F.pad(parts.masks, (0, 2, 0, 1), value=5.0),
        stuff_masks=F.pad(parts.stuff_masks, (0, 2, 0, 1), value=5.0),
    ).output()
    (alone,) = predict_panoptic(parts.output(), [ImageSizes((12, 16), (12, 16), (30, 40))], settings)
    sizes = [ImageSizes((16, 24), (12, 16), (30, 40))]
    (cropped,) = predict_panoptic(padded, sizes, settings)
    (uncropped,) = predict_panoptic(padded, sizes, settings, crop_padding=False)
    np.testing.assert_array_equal(cropped.ids, alone.ids)
    assert cropped.segments == alone.segments
    assert not np.array_equal(uncropped.instances.masks, alone.instances.masks)


@pytest.mark.parametrize("method", METHODS)
def test_each_image_of_a_batch_for_itself(method: str) -> None:
    parts, settings = random_parts(4, batch=2), replace(SETTINGS, method=method)
    sizes = [ImageSizes((12, 16), (12, 16), (24, 20)), ImageSizes((12, 16), (12, 16), (12, 16))]
    together = predict_panoptic(parts.output(), sizes, settings)
    assert [prediction.ids.shape for prediction in together] == [(24, 20), (12, 16)]
    flipped = Parts(**{name: value.flip(0) for name, value in vars(parts).items()}).output()
    for one, other in zip(together, reversed(predict_panoptic(flipped, sizes[::-1], settings)), strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)
        assert one.segments == other.segments


def test_version_1_scores_by_the_class_alone() -> None:
    """Alpha 1, beta 0: a faint mask of a sure class comes before a clear mask of an unsure one."""
    masks = torch.stack((0.6 * box_mask(0, 0, 4, 10), 0.9 * box_mask(0, 0, 3, 10), 0.9 * box_mask(6, 0, 8, 10)))
    output = joint_output(masks, torch.tensor([0.7, 0.6, 0.29]), torch.tensor([0, 1, 2]))
    first = replace(SETTINGS, alpha=1.0, beta=0.0, score_threshold=0.3)
    assert [segment.label for segment in predict_one(output, first).segments] == [0]
    assert [segment.score for segment in predict_one(output, first).segments] == pytest.approx([0.7])
    assert [segment.label for segment in predict_one(output).segments] == [1]


@pytest.mark.parametrize("method", METHODS)
def test_queries_of_one_stuff_class_make_one_segment(method: str) -> None:
    """Their overlap with each other is no conflict; things stay apart."""
    masks = torch.stack((0.9 * box_mask(0, 0, 7, 10), 0.8 * box_mask(3, 0, 10, 10))).float()
    scores = torch.tensor([0.9, 0.8])
    settings = replace(SETTINGS, method=method)
    stuff = predict_one(joint_output(masks, scores, torch.tensor([THINGS, THINGS])), settings)
    assert [(segment.label, segment.area) for segment in stuff.segments] == [(THINGS, 100)]
    assert stuff.segments[0].score == pytest.approx(0.9 if method != "mask" else 0.9 * (63 / 71) ** 2)
    assert (stuff.ids == 1).all()
    things = predict_one(joint_output(masks, scores, torch.tensor([1, 1])), replace(settings, overlap_things=0.7))
    assert [segment.label for segment in things.segments] == [1, 1]


def test_instances_of_joint_queries_are_the_things() -> None:
    masks = torch.rand(5, 10, 10, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, THINGS, 2, THINGS + 1, 1])
    instances = predict_one(joint_output(masks, torch.full((5,), 0.5), labels)).instances
    assert sorted(instances.labels.tolist()) == [0, 1, 2]
    assert len(instances.boxes_xyxy) == len(instances.masks) == len(instances.scores) == 3


def test_a_mask_is_where_its_slot_says() -> None:
    """Where all queries have masks, the selection points at them."""
    masks = torch.stack((box_mask(0, 0, 5, 5), box_mask(5, 5, 10, 10))).float()
    output = joint_output(masks, torch.tensor([0.9, 0.5]), torch.tensor([0, 1]))
    crossed = replace(output, selection=replace(output.selection, slots=torch.tensor([[1, 0]])))
    assert predict_one(crossed).segments[0].label == 0
    assert predict_one(crossed).ids[7, 7] == 1


@pytest.mark.parametrize(
    "boxes", [torch.rand(1, 1, QUERIES, 2), torch.zeros(0, 1, QUERIES, 4)], ids=["centers", "none"]
)
def test_without_predicted_boxes_they_are_the_masks(boxes: Tensor) -> None:
    masks = torch.stack((box_mask(1, 2, 5, 9), box_mask(0, 0, 0, 0))).float()
    output = joint_output(masks, torch.tensor([0.9, 0.5]), torch.tensor([0, 1]))
    instances = predict_one(replace(output, location=replace(output.location, boxes=boxes))).instances
    np.testing.assert_array_equal(instances.boxes_xyxy, [[2, 1, 9, 5], [0, 0, 0, 0]])
    assert instances.boxes_xyxy.dtype == np.float32


@pytest.mark.parametrize("method", METHODS)
def test_no_candidate_gives_an_empty_map(method: str) -> None:
    nothing = joint_output(torch.zeros(0, 10, 10), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    prediction = predict_one(nothing, replace(SETTINGS, method=method))
    assert not prediction.ids.any()
    assert prediction.segments == ()
    assert prediction.instances.masks.shape == (0, 10, 10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "pixels"}, "merging.method is 'pixels'; choose one of mask, pixel, pixel_class"),
        ({"score_threshold": 1.5}, "merging.score_threshold is 1.5; give a number from 0 to 1"),
        ({"mask_threshold": -0.1}, "merging.mask_threshold is -0.1"),
        ({"overlap_stuff": float("nan")}, "merging.overlap_stuff is nan"),
        ({"overlap_things": 2}, "merging.overlap_things is 2"),
        ({"alpha": -1.0}, "merging.alpha is -1.0; give a finite number of at least 0"),
        ({"beta": float("inf")}, "merging.beta is inf"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        MergingSettings(**settings)
