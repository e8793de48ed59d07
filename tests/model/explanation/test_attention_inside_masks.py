"""Attention is that of the layers, for the query that stands for the segment, and is counted inside masks exactly."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.explanation.attention import coverage, draw_attention, measure_attention, segment_attention
from model.explanation.recording import recording
from model.network.mask_decoder import MaskDecoder
from model.pixels import normalize
from panoptic.evaluation.image import SegmentedImage
from panoptic.format.segments import SegmentLabel
from tests.model.explanation.observed import NETWORKS, SIZE, observe
from tests.model.network.tiny_network import TINY, tiny_network

every_network = pytest.mark.parametrize("name", NETWORKS)


@every_network
@pytest.mark.parametrize("mask_layer", [0, 1])
def test_what_a_layer_reads_is_the_mask_of_the_segment(name: str, mask_layer: int) -> None:
    """Only if the query of every layer is the right one do the masks read equal those of the network."""
    images = observe(NETWORKS[name], mask_layer)
    pixels = torch.from_numpy(np.stack([image.pixels for image in images]))
    with torch.no_grad():
        all_layers = images[0].network.segment(normalize(pixels), mask_layer, auxiliary=True)
    for image in images:
        assert image.prediction.segments
        for segment in image.prediction.segments:
            masks = segment_attention(image, segment).masks
            torch.testing.assert_close(masks[-1], image.found.masks[segment.candidate], rtol=1e-4, atol=1e-5)
            if segment.candidate < image.found.selected:
                row = int(all_layers.selection.mask_indices[image.position, segment.candidate])
                expected = all_layers.query_masks.masks[:, image.position, row]
            else:
                assert all_layers.stuff is not None
                expected = all_layers.stuff.masks[:, image.position, segment.candidate - image.found.selected]
            torch.testing.assert_close(masks, expected, rtol=1e-4, atol=1e-5)


@every_network
def test_attention_sums_to_one_in_every_layer_and_head(name: str) -> None:
    config = NETWORKS[name]
    for image in observe(config):
        for segment in image.prediction.segments:
            attention = segment_attention(image, segment)
            decoupled_stuff = config.stuff == "decoupled" and not segment.is_thing
            layers = (config.stuff_mask_layers if decoupled_stuff else config.thing_mask_layers) + 1
            assert attention.layers == (*map(str, range(1, layers)), "last")
            assert attention.weights.shape[:2] == (layers, config.heads)
            np.testing.assert_allclose(attention.weights.sum(-1), 1, rtol=1e-5)
            np.testing.assert_allclose(attention.maps().sum((-2, -1)), 1, rtol=1e-5)


def test_attention_is_the_softmax_of_queries_and_keys() -> None:
    image = observe()[1]
    segment = next(one for one in image.prediction.segments if one.is_thing)
    decoder, output = image.network.query_masks, image.recording.output
    assert isinstance(decoder, MaskDecoder)
    reader, _ = decoder.readers()
    query = int(output.selection.indices[image.position, segment.candidate])
    tokens = output.memory.tokens[image.position, : sum(h * w for h, w in output.memory.spatial_shapes[:3])]
    with torch.no_grad():
        q = reader.q(output.location.queries[image.position, query]).view(TINY.heads, -1)
        k = reader.k(tokens).view(len(tokens), TINY.heads, -1)
        expected = (torch.einsum("hd,thd->ht", q, k) * q.shape[-1] ** -0.5).softmax(-1)
    torch.testing.assert_close(segment_attention(image, segment).weights[0], expected, rtol=1e-4, atol=1e-6)


def test_all_attention_is_inside_the_whole_image_and_halves_add_up() -> None:
    image = observe()[0]
    left = np.zeros(SIZE, bool)
    left[:, :37] = True  # cuts through tokens
    for segment in image.prediction.segments:
        attention = segment_attention(image, segment)
        np.testing.assert_allclose(attention.inside(np.ones(SIZE, bool)), 1, rtol=1e-5)
        np.testing.assert_allclose(attention.inside(left) + attention.inside(~left), 1, rtol=1e-5)
        is_empty = attention.masks.flatten(1).sum(1, keepdim=True).numpy() == 0
        np.testing.assert_allclose(attention.masks_inside(np.ones(SIZE, bool)), ~is_empty, rtol=1e-5)


def test_a_token_counts_by_the_part_of_its_cell_that_a_mask_covers() -> None:
    mask = np.zeros((4, 8), bool)
    mask[:, :3] = True
    assert coverage(mask, ((2, 4), (1, 1))).tolist() == [1, 0.5, 0, 0, 1, 0.5, 0, 0, 3 / 8]


def test_segments_that_match_the_ground_truth_are_measured() -> None:
    image = observe()[0]
    ids = np.zeros(SIZE, np.int32)
    ids[:, :48], ids[:, 48:] = 1, 2
    thing = next(one for one in image.prediction.segments if one.is_thing)
    stuff = next(one for one in image.prediction.segments if not one.is_thing)
    segments = replace(thing, id=1), replace(stuff, id=2)
    labels = [SegmentLabel(1, image.categories.category_of(thing.label).id, False), SegmentLabel(2, 1, False)]
    seen = replace(
        image,
        prediction=replace(image.prediction, ids=ids, segments=segments),
        ground_truth=SegmentedImage(ids, labels),  # the other half is no stuff there
    )
    found = list(measure_attention(seen))
    assert [tuple(one.curve) for one in found] == [("attention", "things"), ("masks read", "things")]
    assert [one.area for one in found] == [0.5, 0.5]
    np.testing.assert_array_equal(found[0].inside, segment_attention(image, thing).inside(ids == 1))


def test_recording_changes_no_output_and_leaves_nothing_behind() -> None:
    network = tiny_network().eval()
    images = torch.rand(1, 3, *SIZE)
    with torch.no_grad():
        before = network.segment(images)
        with recording(network) as recorded:
            during = network.segment(images)
    assert recorded.output is during
    assert torch.equal(before.query_masks.masks, during.query_masks.masks)
    assert torch.equal(before.selection.scores, during.selection.scores)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_drawing_has_a_row_for_each_layer_and_a_column_for_each_head() -> None:
    image = observe()[0]
    segment = next(one for one in image.prediction.segments if one.is_thing)
    drawn = draw_attention(image, segment)
    columns, rows = TINY.heads + 3, TINY.thing_mask_layers + 1
    assert drawn.shape == (rows * (128 + 30) + 10, columns * (192 + 10) + 10, 3)
