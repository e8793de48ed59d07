"""Merging against a pixel-by-pixel account of its rules, and the cases at their borders."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from model.merging import MergingSettings, PictureSizes, merge, predict_panoptic, segment_masks
from model.network.outputs import LocationOutput, MaskOutput, Memory, PanopticOutput, QuerySelection

THINGS, STUFF, QUERIES = 3, 2, 4
SETTINGS = MergingSettings()


def box_mask(top: int, left: int, bottom: int, right: int) -> Tensor:
    mask = torch.zeros(10, 10, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


def network_output(
    masks: Tensor, scores: Tensor, valid: Tensor, stuff_masks: Tensor, stuff_logits: Tensor
) -> PanopticOutput:
    """Output whose last masks are the given ones (B, N, h, w) and (B, S, h, w); the rest is filler."""
    batch, count = scores.shape
    generator = torch.Generator().manual_seed(1)
    boxes = torch.rand(1, batch, QUERIES, 4, generator=generator)
    filler = torch.zeros(batch, 1, 1)
    indices = torch.arange(count).remainder(QUERIES).expand(batch, -1)
    return PanopticOutput(
        memory=Memory(filler, filler[..., 0] > 0, ((1, 1),), filler),
        location=LocationOutput(filler[None], torch.zeros(1, batch, QUERIES, THINGS), boxes, filler),
        selection=QuerySelection(indices, indices.remainder(THINGS), scores, valid),
        things=MaskOutput(torch.stack((torch.zeros_like(masks), masks)), filler[None]),
        stuff=MaskOutput(torch.stack((torch.zeros_like(stuff_masks), stuff_masks)), filler[None]),
        stuff_logits=stuff_logits[None],
        proposals=None,
        token_logits=None,
    )


def random_output(seed: int, batch: int = 1, count: int = 6) -> PanopticOutput:
    generator = torch.Generator().manual_seed(seed)
    masks, stuff_masks = (2 * torch.rand(batch, number, 3, 4, generator=generator) ** 2 for number in (count, STUFF))
    scores = torch.rand(batch, count, generator=generator)
    logits = torch.randn(batch, STUFF, generator=generator)
    return network_output(masks, scores, torch.ones(batch, count, dtype=torch.bool), stuff_masks, logits)


def brute_force(masks: Tensor, scores: Tensor, labels: Tensor) -> dict[tuple[int, int], int]:
    """Pixel -> 1-based rank among the kept masks, by the published rules."""
    taken: dict[tuple[int, int], int] = {}
    kept = 0
    for score, position in sorted((-float(score), position) for position, score in enumerate(scores)):
        pixels = [(y, x) for y in range(masks.shape[1]) for x in range(masks.shape[2]) if masks[position, y, x]]
        overlap = sum(pixel in taken for pixel in pixels)
        allowed = 0.4 if labels[position] < THINGS else 0.2
        if -score < 0.25 or not pixels or overlap / len(pixels) > allowed:
            continue
        kept += 1
        for pixel in pixels:
            taken.setdefault(pixel, kept)
    return taken


@pytest.mark.parametrize("seed", range(20))
def test_merge_equals_brute_force(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 11, (12, 2, 2), generator=generator).sort(dim=1).values
    masks = torch.stack([box_mask(*corner.flatten().tolist()) for corner in corners])
    scores = torch.rand(12, generator=generator)
    labels = torch.randint(0, THINGS + STUFF, (12,), generator=generator)
    ids, segments = merge(masks, scores, labels, THINGS, SETTINGS)
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
    _, segments = merge(masks, torch.tensor([0.9, 0.8]), torch.tensor([1, label]), THINGS, SETTINGS)
    assert len(segments) == 1 + kept


def test_a_covered_mask_is_left_out_even_where_any_overlap_is_allowed() -> None:
    masks = torch.stack([box_mask(0, 0, 5, 5), box_mask(1, 1, 4, 4)])
    settings = replace(SETTINGS, overlap_things=1.0, overlap_stuff=1.0)
    ids, segments = merge(masks, torch.tensor([0.9, 0.8]), torch.tensor([0, THINGS]), THINGS, settings)
    assert [segment.id for segment in segments] == np.unique(ids[ids > 0]).tolist() == [1]


def test_score_threshold_is_included() -> None:
    masks = torch.stack((box_mask(0, 0, 2, 2), box_mask(4, 4, 6, 6)))
    _, segments = merge(masks, torch.tensor([0.25, 0.2499]), torch.tensor([0, 1]), THINGS, SETTINGS)
    assert [segment.label for segment in segments] == [0]


def test_nothing_found() -> None:
    ids, segments = merge(torch.zeros(0, 3, 5) > 0, torch.zeros(0), torch.zeros(0).long(), THINGS, SETTINGS)
    assert not ids.any()
    assert ids.shape == (3, 5)
    assert segments == ()


def test_quality_counts_one_pixel_more() -> None:
    masks = torch.zeros(11, 4, 5)
    masks[10, 1:3, 1:4] = torch.tensor([0.6, 0.9, 0.5])
    segmented, quality = segment_masks(masks, (4, 5), 0.5)
    assert segmented.sum() == 4
    torch.testing.assert_close(quality, torch.tensor([0.0] * 10 + [2 * 1.5 / 5]))


@pytest.mark.parametrize("seed", range(5))
def test_scores_and_order_of_instances(seed: int) -> None:
    output = random_output(seed)
    (prediction,) = predict_panoptic(output, [PictureSizes((12, 16), (12, 16), (24, 20))], SETTINGS)
    masks, quality = segment_masks(output.things.masks[-1, 0], (24, 20), 0.5)
    expected = output.selection.scores[0] * quality**2
    order = expected.argsort(descending=True).tolist()
    instances = prediction.instances
    np.testing.assert_allclose(instances.scores, expected[order], rtol=1e-6)
    np.testing.assert_array_equal(instances.masks, masks[order])
    np.testing.assert_array_equal(instances.labels, output.selection.labels[0, order])
    assert (instances.boxes_xyxy >= 0).all()
    assert (instances.boxes_xyxy <= [20, 24, 20, 24]).all()
    assert prediction.ids.shape == (24, 20)
    assert [s.score for s in prediction.segments] == sorted((s.score for s in prediction.segments), reverse=True)


def test_queries_that_only_fill_up_are_left_out() -> None:
    output = random_output(0)
    sizes = [PictureSizes((12, 16), (12, 16), (12, 16))]
    nobody = replace(output, selection=replace(output.selection, valid=output.selection.valid & False))
    (prediction,) = predict_panoptic(nobody, sizes, SETTINGS)
    assert len(prediction.instances.masks) == 0
    assert not any(segment.is_thing for segment in prediction.segments)


def test_padding_is_cropped_before_resizing() -> None:
    """A picture in a larger batch gives what its own part of the masks gives."""
    output = random_output(3)
    padded = network_output(
        torch.nn.functional.pad(output.things.masks[-1], (0, 2, 0, 1), value=5.0),
        output.selection.scores,
        output.selection.valid,
        torch.nn.functional.pad(output.stuff.masks[-1], (0, 2, 0, 1), value=5.0),
        output.stuff_logits[-1],
    )
    (alone,) = predict_panoptic(output, [PictureSizes((12, 16), (12, 16), (30, 40))], SETTINGS)
    sizes = [PictureSizes((16, 24), (12, 16), (30, 40))]
    (cropped,) = predict_panoptic(padded, sizes, SETTINGS)
    (uncropped,) = predict_panoptic(padded, sizes, SETTINGS, crop_padding=False)
    np.testing.assert_array_equal(cropped.ids, alone.ids)
    assert cropped.segments == alone.segments
    assert not np.array_equal(uncropped.instances.masks, alone.instances.masks)


def test_each_picture_of_a_batch_for_itself() -> None:
    output = random_output(4, batch=2)
    sizes = [PictureSizes((12, 16), (12, 16), (24, 20)), PictureSizes((12, 16), (12, 16), (12, 16))]
    together = predict_panoptic(output, sizes, SETTINGS)
    assert [prediction.ids.shape for prediction in together] == [(24, 20), (12, 16)]
    flipped = replace(
        output,
        location=replace(output.location, boxes_cxcywh=output.location.boxes_cxcywh.flip(1)),
        selection=replace(output.selection, scores=output.selection.scores.flip(0)),
        things=replace(output.things, masks=output.things.masks.flip(1)),
        stuff=replace(output.stuff, masks=output.stuff.masks.flip(1)),
        stuff_logits=output.stuff_logits.flip(1),
    )
    for one, other in zip(together, reversed(predict_panoptic(flipped, sizes[::-1], SETTINGS)), strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)
        assert one.segments == other.segments
