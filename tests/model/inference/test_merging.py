"""Merging: the edge cases of its rules, what each method prefers, and how outputs become candidates."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.inference.bit_masks import segment_masks
from model.inference.merging import METHODS, MergingSettings, merge_masks, merge_masks_by_pixel
from model.inference.post_processing import ImageSizes, predict_panoptic
from model.network.queries import top_pairs
from tests.model.inference.merging_outputs import (
    QUERIES,
    SETTINGS,
    STUFF,
    THINGS,
    MergeMasks,
    Parts,
    box_mask,
    joint_output,
    merge_packed,
    merge_plain,
    predict_one,
    random_parts,
)

both = pytest.mark.parametrize("merge", [merge_packed, merge_plain])


@both
@pytest.mark.parametrize(
    ("label", "rows_taken", "kept"), [(0, 4, True), (0, 5, False), (THINGS, 2, True), (THINGS, 3, False)]
)
def test_overlap_limits(merge: MergeMasks, label: int, rows_taken: int, kept: bool) -> None:
    """A thing may lose 0.4 of its area and stuff 0.2, not more."""
    masks = torch.stack((box_mask(0, 0, rows_taken, 10), box_mask(0, 0, 10, 10)))
    _, segments = merge(masks, torch.tensor([0.9, 0.8]), torch.tensor([1, label]), SETTINGS)
    assert len(segments) == 1 + kept


@both
def test_a_covered_mask_is_dropped_even_where_any_overlap_is_allowed(merge: MergeMasks) -> None:
    masks = torch.stack([box_mask(0, 0, 5, 5), box_mask(1, 1, 4, 4)])
    settings = replace(SETTINGS, overlap_things=1.0, overlap_stuff=1.0)
    ids, segments = merge(masks, torch.tensor([0.9, 0.8]), torch.tensor([0, THINGS]), settings)
    assert [segment.id for segment in segments] == np.unique(ids[ids > 0]).tolist() == [1]


@both
def test_score_threshold_is_inclusive(merge: MergeMasks) -> None:
    masks = torch.stack((box_mask(0, 0, 2, 2), box_mask(4, 4, 6, 6)))
    _, segments = merge(masks, torch.tensor([0.25, 0.2499]), torch.tensor([0, 1]), SETTINGS)
    assert [segment.label for segment in segments] == [0]


@both
def test_no_mask_gives_an_empty_map(merge: MergeMasks) -> None:
    ids, segments = merge(torch.zeros(0, 3, 5) > 0, torch.zeros(0), torch.zeros(0).long(), SETTINGS)
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


def test_queries_that_only_fill_up_the_selection_are_ignored() -> None:
    parts = random_parts(0)
    prediction = predict_one(replace(parts, valid=parts.valid & False).output())
    assert len(prediction.instances.masks) == 0
    assert not any(segment.is_thing for segment in prediction.segments)


@pytest.mark.parametrize("method", METHODS)
def test_padding_is_cropped_before_resizing(method: str) -> None:
    """An image in a padded batch gets the result of its own part of the masks."""
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
def test_images_of_a_batch_do_not_influence_each_other(method: str) -> None:
    parts, settings = random_parts(4, batch=2), replace(SETTINGS, method=method)
    sizes = [ImageSizes((12, 16), (12, 16), (24, 20)), ImageSizes((12, 16), (12, 16), (12, 16))]
    together = predict_panoptic(parts.output(), sizes, settings)
    assert [prediction.ids.shape for prediction in together] == [(24, 20), (12, 16)]
    flipped = Parts(**{name: value.flip(0) for name, value in vars(parts).items()}).output()
    for one, other in zip(together, reversed(predict_panoptic(flipped, sizes[::-1], settings)), strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)
        assert one.segments == other.segments


@pytest.mark.parametrize(
    ("method", "allowed", "labels"),
    [
        ("pixel", 0.35, [0, 1, 1]),
        ("pixel", 0.3, [None, 1, 1]),
        ("pixel_class", 0.35, [0, 0, 1]),
        ("pixel_class", 0.3, [0, 0, None]),
        ("mask", 0.35, [0, 0, 1]),
        ("mask_pixel", 0.35, [0, 1, 1]),
        ("mask_pixel", 0.3, [0, 0, None]),
    ],
)
def test_methods_disagree_where_a_probable_class_meets_a_strong_mask(
    method: str, allowed: float, labels: list[int | None]
) -> None:
    """A probable mask covers the left and the middle, a less probable but stronger one the middle and the right.

    Whichever loses the middle, a third of its area, is dropped where less than that is allowed; its rest is void.
    """
    masks = torch.stack((0.8 * box_mask(0, 0, 10, 6), 1.6 * box_mask(0, 4, 10, 10)))
    output = joint_output(masks, torch.tensor([0.9, 0.3]), torch.tensor([0, 1]))
    prediction = predict_one(output, replace(SETTINGS, method=method, beta=0.0, overlap_things=allowed))
    of_id = {segment.id: segment.label for segment in prediction.segments}
    assert [of_id.get(int(prediction.ids[5, column])) for column in (1, 5, 8)] == labels


def test_pixels_outside_of_all_masks_go_to_the_highest() -> None:
    """A mask of 0.4 is below the mask threshold in a third of its area, which no other mask wants as much."""
    masks = torch.stack((0.9 * box_mask(0, 0, 10, 4), 0.8 * box_mask(0, 6, 10, 10)))
    masks[0, :, 4:6], masks[1, :, 5:6] = 0.3, 0.4
    output = joint_output(masks, torch.tensor([0.9, 0.8]), torch.tensor([0, 1]))
    for method, threshold, labels in (
        ("mask", 0.25, [0, None, None, 1]),
        ("mask_pixel", 0.25, [0, 0, 1, 1]),
        ("mask_pixel", 0.35, [0, None, 1, 1]),
    ):
        prediction = predict_one(output, replace(SETTINGS, method=method, pixel_threshold=threshold))
        of_id = {segment.id: segment.label for segment in prediction.segments}
        assert [of_id.get(int(prediction.ids[5, column])) for column in (3, 4, 5, 6)] == labels
        assert [segment.area for segment in prediction.segments] == [
            10 * labels.count(0) + 30,
            10 * labels.count(1) + 30,
        ]


def test_version_1_scores_by_the_class_alone() -> None:
    """With alpha 1 and beta 0, a faint mask of a probable class precedes a clear mask of a less probable one."""
    masks = torch.stack((0.6 * box_mask(0, 0, 4, 10), 0.9 * box_mask(0, 0, 3, 10), 0.9 * box_mask(6, 0, 8, 10)))
    output = joint_output(masks, torch.tensor([0.7, 0.6, 0.29]), torch.tensor([0, 1, 2]))
    first = replace(SETTINGS, alpha=1.0, beta=0.0, score_threshold=0.3)
    assert [segment.label for segment in predict_one(output, first).segments] == [0]
    assert [segment.score for segment in predict_one(output, first).segments] == pytest.approx([0.7])
    assert [segment.label for segment in predict_one(output).segments] == [1]


@pytest.mark.parametrize("method", METHODS)
def test_queries_of_one_stuff_class_make_one_segment(method: str) -> None:
    """Their overlap with each other does not count as lost; things stay apart."""
    masks = torch.stack((0.9 * box_mask(0, 0, 7, 10), 0.8 * box_mask(3, 0, 10, 10))).float()
    scores = torch.tensor([0.9, 0.8])
    settings = replace(SETTINGS, method=method)
    stuff = predict_one(joint_output(masks, scores, torch.tensor([THINGS, THINGS])), settings)
    by_masks = METHODS[method] in (merge_masks, merge_masks_by_pixel)
    assert [(segment.label, segment.area) for segment in stuff.segments] == [(THINGS, 100)]
    assert stuff.segments[0].score == pytest.approx(0.9 * (63 / 71) ** 2 if by_masks else 0.9)
    assert (stuff.ids == 1).all()
    things = predict_one(joint_output(masks, scores, torch.tensor([1, 1])), replace(settings, overlap_things=0.7))
    assert [segment.label for segment in things.segments] == [1, 1]


def test_instances_of_joint_queries_are_the_things() -> None:
    masks = torch.rand(5, 10, 10, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, THINGS, 2, THINGS + 1, 1])
    instances = predict_one(joint_output(masks, torch.full((5,), 0.5), labels)).instances
    assert sorted(instances.labels.tolist()) == [0, 1, 2]
    assert len(instances.boxes_xyxy) == len(instances.masks) == len(instances.scores) == 3


def test_slots_point_at_the_masks_of_the_selection() -> None:
    """They matter where all queries have masks, selected or not."""
    masks = torch.stack((box_mask(0, 0, 5, 5), box_mask(5, 5, 10, 10))).float()
    output = joint_output(masks, torch.tensor([0.9, 0.5]), torch.tensor([0, 1]))
    crossed = replace(output, selection=replace(output.selection, mask_indices=torch.tensor([[1, 0]])))
    assert predict_one(crossed).segments[0].label == 0
    assert predict_one(crossed).ids[7, 7] == 1


@pytest.mark.parametrize(
    "boxes", [torch.rand(1, 1, QUERIES, 2), torch.zeros(0, 1, QUERIES, 4)], ids=["centers", "none"]
)
def test_without_predicted_boxes_those_of_the_masks_are_used(boxes: Tensor) -> None:
    masks = torch.stack((box_mask(1, 2, 5, 9), box_mask(0, 0, 0, 0))).float()
    output = joint_output(masks, torch.tensor([0.9, 0.5]), torch.tensor([0, 1]))
    instances = predict_one(replace(output, location=replace(output.location, boxes=boxes))).instances
    np.testing.assert_array_equal(instances.boxes_xyxy, [[2, 1, 9, 5], [0, 0, 0, 0]])
    assert instances.boxes_xyxy.dtype == np.float32


@pytest.mark.parametrize("method", METHODS)
def test_without_candidates_the_map_is_empty(method: str) -> None:
    nothing = joint_output(torch.zeros(0, 10, 10), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    prediction = predict_one(nothing, replace(SETTINGS, method=method))
    assert not prediction.ids.any()
    assert prediction.segments == ()
    assert prediction.instances.masks.shape == (0, 10, 10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"method": "pixels"},
            "merging.method is 'pixels'; choose one of mask, mask_pixel, pixel, pixel_class, detr, own",
        ),
        ({"score_threshold": 1.5}, "merging.score_threshold is 1.5; give at least 0 and at most 1"),
        ({"mask_threshold": -0.1}, "merging.mask_threshold is -0.1"),
        ({"overlap_stuff": float("nan")}, "merging.overlap_stuff is nan"),
        ({"overlap_things": 2}, "merging.overlap_things is 2"),
        ({"alpha": -1.0}, "merging.alpha is -1.0; give at least 0 and at most 1000"),
        ({"beta": float("inf")}, "merging.beta is inf"),
    ],
)
def test_settings_out_of_range_are_rejected(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        MergingSettings(**settings)


def detr_post_processing(
    class_logits: Tensor, mask_logits: Tensor, threshold: float
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """DETR's `PostProcessPanoptic` (facebookresearch/detr, models/segmentation.py), for masks of the image's size.

    Args:
        class_logits: (Q, classes + 1), the last of which means no object.
        mask_logits: (Q, H, W).
        threshold: of the class probability.

    Returns:
        The map, whose ids are positions in the list of segments, and the label and area of each segment.
    """
    scores, labels = class_logits.softmax(-1).max(-1)
    keep = labels.ne(class_logits.shape[-1] - 1) & (scores > threshold)
    labels, masks = labels[keep], mask_logits[keep].flatten(1)
    equivalent: dict[int, list[int]] = {}
    for position, label in enumerate(labels.tolist()):
        if label >= THINGS:
            equivalent.setdefault(label, []).append(position)
    deduplicate = True
    while True:
        ids = masks.transpose(0, 1).softmax(-1).argmax(-1) if len(masks) else torch.zeros(masks.shape[1])
        if deduplicate:
            for positions in equivalent.values():
                for position in positions:
                    ids.masked_fill_(ids.eq(position), positions[0])
        deduplicate = False
        areas = torch.tensor([int(ids.eq(position).sum()) for position in range(len(labels))])
        if not (areas <= 4).any():
            found = list(zip(labels.tolist(), areas.tolist(), strict=True))
            return ids.view(mask_logits.shape[1:]).numpy(), found
        labels, masks = labels[areas > 4], masks[areas > 4]


@pytest.mark.parametrize("seed", range(20))
def test_detr_gives_what_its_authors_code_gives(seed: int) -> None:
    """Softmax scores, an argmax that leaves no void, stuff joined, small segments dropped, and the argmax again.

    The queries are in order of their probability: of a stuff class DETR keeps the mask of the first query.
    """
    generator = torch.Generator().manual_seed(seed)
    class_logits = 6 * torch.randn(12, THINGS + STUFF + 1, generator=generator)
    mask_logits = F.interpolate(2 * torch.randn(1, 12, 4, 4, generator=generator), size=(10, 10), mode="bilinear")[0]
    order = class_logits.softmax(-1)[:, :-1].amax(-1).argsort(descending=True)
    class_logits, mask_logits = class_logits[order], mask_logits[order]
    expected_ids, expected = detr_post_processing(class_logits, mask_logits, 0.85)
    scores, queries, labels = top_pairs(class_logits.softmax(-1)[None, :, :-1], 12)
    output = joint_output(mask_logits.sigmoid()[queries[0]], scores[0], labels[0])
    prediction = predict_one(output, replace(SETTINGS, method="detr", score_threshold=0.85))
    assert sorted((segment.label, segment.area) for segment in prediction.segments) == sorted(expected)
    regions = {((prediction.ids == found.id).tobytes(), found.label) for found in prediction.segments}
    assert regions == {((expected_ids == position).tobytes(), label) for position, (label, _) in enumerate(expected)}


def test_detr_drops_small_segments_and_compares_the_others_again() -> None:
    """Four pixels are too few, for things and stuff; an image of four pixels stays void."""
    masks = torch.stack((0.6 * box_mask(0, 0, 10, 10), 0.9 * box_mask(0, 0, 2, 2), 0.8 * box_mask(5, 5, 7, 7)))
    output = joint_output(masks, torch.tensor([0.7, 0.9, 0.8]), torch.tensor([0, 1, THINGS]))
    prediction = predict_one(output, replace(SETTINGS, method="detr"))
    (only,) = prediction.segments
    assert (only.label, only.area) == (0, 100)
    assert only.score == pytest.approx(0.7)
    tiny = predict_one(output, replace(SETTINGS, method="detr"), size=(2, 2))
    assert tiny.segments == ()
    assert not tiny.ids.any()
