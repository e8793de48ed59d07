"""Fast inference gives the results of the naive one."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks.baselines import naive_inference
from model.inference.bit_masks import BitMasks, segment_masks
from model.inference.merging import ImageSizes, MergingSettings, merge, predict_panoptic
from model.network.queries import top_queries
from tests.model.network.tiny_network import random_tensor, tiny_network

THINGS, STUFF = 5, 3


@pytest.mark.parametrize("seed", range(30))
def test_merging_packed_masks_equals_merging_masks(seed: int) -> None:
    """Equal scores, empty masks, repeated stuff classes, and pixels that do not fill a word."""
    generator = torch.Generator().manual_seed(seed)
    count = int(torch.randint(0, 40, (), generator=generator))
    smooth = F.interpolate(torch.rand(1, count, 3, 4, generator=generator), size=(17, 23), mode="bilinear")[0]
    masks = smooth > torch.rand(count, 1, 1, generator=generator)
    scores = torch.randint(0, 9, (count,), generator=generator) / 8
    labels = torch.randint(0, THINGS + STUFF, (count,), generator=generator)
    settings = MergingSettings(overlap_things=0.6, overlap_stuff=0.5)
    ids, segments = merge(BitMasks.of(masks), scores, labels, THINGS, settings)
    expected_ids, expected_segments = naive_inference.merge(masks, scores, labels, THINGS, settings)
    np.testing.assert_array_equal(ids, expected_ids)
    assert segments == expected_segments


@pytest.mark.parametrize(("count", "size"), [(0, (8, 8)), (1, (8, 8)), (7, (9, 13)), (4, (1, 1))])
def test_bits_and_quality_are_those_of_the_masks(count: int, size: tuple[int, int]) -> None:
    masks = 2 * torch.rand(count, 3, 4, generator=torch.Generator().manual_seed(0))
    bits, quality = segment_masks(masks, size, 0.5)
    expected, expected_quality = naive_inference.segment_masks(masks, size, 0.5)
    np.testing.assert_array_equal(bits.unpack(), expected)
    np.testing.assert_array_equal(bits.areas(), expected.flatten(1).sum(1))
    np.testing.assert_array_equal(BitMasks.of(expected).words, bits.words)
    torch.testing.assert_close(quality, expected_quality)


@torch.no_grad()
def test_the_whole_network_gives_the_same_image() -> None:
    network, images = tiny_network().eval(), random_tensor(1, 3, 48, 64)
    settings = MergingSettings(score_threshold=0, mask_threshold=0.1, overlap_things=0.9, overlap_stuff=0.9)
    (ids, segments), masks = naive_inference.merge_output(naive_inference.forward(network, images), (30, 41), settings)
    output = network(images, None, top_queries(network.config.selected_queries), auxiliary=False)
    (prediction,) = predict_panoptic(output, [ImageSizes((48, 64), (48, 64), (30, 41))], settings)
    assert len(np.unique(ids)) > 3
    assert (prediction.ids == ids).mean() > 0.99
    assert [one.label for one in prediction.segments] == [one.label for one in segments]
    assert (prediction.instances.masks == masks).mean() > 0.99
