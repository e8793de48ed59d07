"""Segments carry the number of the query that found them."""

import torch

from model.inference.merging import MergingSettings
from model.inference.post_processing import ImageSizes, find_masks
from model.network.outputs import PanopticOutput
from tests.model.explanation.observed import NETWORKS, observe
from tests.model.network.tiny_network import THINGS

SETTINGS = MergingSettings(score_threshold=0, overlap_things=1, overlap_stuff=1)
SIZES = ImageSizes((4, 4), (4, 4), (4, 4))


def test_stuff_with_queries_of_its_own_is_counted_after_the_others() -> None:
    config = NETWORKS["decoupled"]
    for image in observe(config):
        for segment in image.prediction.segments:
            assert segment.query is not None
            if segment.is_thing:
                assert segment.query == image.recording.output.selection.indices[image.position, segment.candidate]
            else:
                assert segment.query == config.queries + segment.label - THINGS


def output_of(indices: torch.Tensor | None) -> PanopticOutput:
    """Two queries that each have a half of the image."""
    masks = torch.zeros(1, 2, 4, 4)
    masks[0, 0, :2], masks[0, 1, 2:] = 1, 1
    total = None if indices is None else 30
    labels, scores, states = torch.tensor([[0, 1]]), torch.tensor([[0.9, 0.8]]), torch.zeros(1, 2, 8)
    return PanopticOutput.of_masks(THINGS, labels, scores, masks, states, indices=indices, total_queries=total)


def test_families_that_select_by_themselves_know_their_queries() -> None:
    found = find_masks(output_of(torch.tensor([[17, 3]])), 0, SIZES).merge(SETTINGS)
    assert [(one.candidate, one.query) for one in found.segments] == [(0, 17), (1, 3)]


def test_a_network_that_tells_only_what_it_found_has_no_numbers() -> None:
    found = find_masks(output_of(None), 0, SIZES)
    assert found.query_numbers is None
    assert [one.query for one in found.merge(SETTINGS).segments] == [None, None]
