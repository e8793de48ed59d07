"""Merging on packed bits gives what its reference gives, pixel by pixel and segment by segment."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model import merging_reference
from model.inference.bit_masks import BitMasks, segment_masks
from model.inference.merging import METHODS, Candidates, Merged, MergingSettings, merge, merge_masks
from tests.model.inference.merging_outputs import STUFF, THINGS

SIZE = (17, 23)
"""Its pixels do not fill the last word of packed bits."""
SETTINGS = MergingSettings(overlap_things=0.8, overlap_stuff=0.7)


def random_candidates(seed: int) -> Candidates:
    """Up to 40 masks, some of them empty or equal, with tied scores and stuff classes found several times."""
    generator = torch.Generator().manual_seed(seed)
    count = int(torch.randint(0, 40, (), generator=generator))
    different = torch.rand(count, 3, 4, generator=generator) * 2 * torch.rand(count, 1, 1, generator=generator)
    masks = different[torch.randint(0, count, (count,), generator=generator)] if count else different
    probabilities = torch.randint(0, 9, (count,), generator=generator) / 8
    scores = torch.randint(0, 9, (count,), generator=generator) / 8
    labels = torch.randint(0, THINGS + STUFF, (count,), generator=generator)
    inside, _ = segment_masks(masks, SIZE, SETTINGS.mask_threshold)
    return Candidates(masks, inside, labels, probabilities, scores, THINGS)


def reference(candidates: Candidates, settings: MergingSettings) -> Merged:
    masks, labels, things = candidates.masks, candidates.labels, candidates.num_things
    if settings.method == "mask_pixel":
        return merging_reference.merge_masks_by_pixel(masks, SIZE, candidates.scores, labels, things, settings)
    if METHODS[settings.method] is not merge_masks:
        by_pixels = merging_reference.merge_detr if settings.method == "detr" else merging_reference.merge_pixels
        return by_pixels(masks, SIZE, candidates.probabilities, labels, things, settings)
    inside, _ = merging_reference.segment_masks(masks, SIZE, settings.mask_threshold)
    return merging_reference.merge_masks(inside, candidates.scores, labels, things, settings)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(30))
def test_merging_equals_its_reference(seed: int, method: str) -> None:
    candidates, settings = random_candidates(seed), replace(SETTINGS, method=method)
    ids, segments = merge(candidates, settings)
    expected_ids, expected_segments = reference(candidates, settings)
    np.testing.assert_array_equal(ids, expected_ids)
    assert segments == expected_segments
    assert ids.dtype == expected_ids.dtype == np.int32
    assert [segment.id for segment in segments] == list(range(1, len(segments) + 1))
    assert [segment.area for segment in segments] == np.bincount(ids.ravel(), minlength=len(segments) + 1)[1:].tolist()
    assert all(segment.is_thing == (segment.label < THINGS) for segment in segments)
    stuff = [segment.label for segment in segments if not segment.is_thing]
    assert len(set(stuff)) == len(stuff)


@pytest.mark.parametrize(("count", "size"), [(0, (8, 8)), (1, (8, 8)), (7, (9, 13)), (4, (1, 1))])
def test_bits_and_quality_are_those_of_the_masks(count: int, size: tuple[int, int]) -> None:
    masks = 2 * torch.rand(count, 3, 4, generator=torch.Generator().manual_seed(0))
    bits, quality = segment_masks(masks, size, 0.5)
    expected, expected_quality = merging_reference.segment_masks(masks, size, 0.5)
    np.testing.assert_array_equal(bits.unpack(), expected)
    np.testing.assert_array_equal(bits.areas(), expected.flatten(1).sum(1))
    np.testing.assert_array_equal(BitMasks.of(expected).words, bits.words)
    torch.testing.assert_close(quality, expected_quality)
