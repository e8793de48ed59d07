"""Sampling points are those that the operator samples at, for the query or token that stands for a segment."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.explanation.attention import draw_attention
from model.explanation.sampling import SampledPoints, draw_sampling, segment_points
from model.network.deformable import DeformableAttention
from model.network.panoptic_segformer import PanopticSegFormer
from model.ops import reference
from model.ops.ms_deform_attn import level_starts
from tests.model.explanation.observed import NETWORKS, SIZE, observe
from tests.model.network.tiny_network import SHAPES, TINY, random_memory, random_tensor, tiny_network


@pytest.mark.parametrize("sides", [2, 4])
def test_points_and_weights_are_those_of_the_operator(sides: int) -> None:
    """The plain reference of the operator, at these points, gives what the layer gives."""
    layer = tiny_network().location_decoder.layers[0].cross_attention
    assert isinstance(layer, DeformableAttention)
    memory, queries = random_memory(), random_tensor(2, 5, TINY.channels, seed=3)
    references = random_tensor(2, 5, len(SHAPES), sides, seed=4).sigmoid()
    with torch.no_grad():
        points, weights = layer.sampling_points(queries, references, SHAPES)
        value = layer.value_proj(memory.tokens).view(2, -1, layer.heads, TINY.channels // layer.heads)
        sampled = reference.forward(value, SHAPES, level_starts(SHAPES), points, weights)
        expected = layer.output_proj(sampled)
        found = layer(queries, references, memory.tokens, None, SHAPES)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weights.sum((-2, -1)), torch.ones(2, 5, layer.heads))


def test_the_points_of_a_segment_start_from_the_reference_of_its_query() -> None:
    image = observe()[1]
    network, location = image.network, image.recording.output.location
    assert isinstance(network, PanopticSegFormer)
    segment = next(one for one in image.prediction.segments if one.is_thing)
    encoder, decoder = segment_points(image, segment, image.prediction.ids == segment.id)
    assert (encoder.part, decoder.part) == ("encoder", "location decoder")
    assert decoder.points.shape == (2, TINY.heads, TINY.levels, TINY.points, 2)
    np.testing.assert_allclose(decoder.weights.sum((-2, -1)), 1, rtol=1e-5)
    query = int(image.recording.output.selection.indices[image.position, segment.candidate])
    assert segment.query == query
    assert location.initial_reference is not None
    np.testing.assert_allclose(decoder.origins[0], location.initial_reference[image.position, query], rtol=1e-5)
    np.testing.assert_allclose(decoder.origins[1], location.boxes[0, image.position, query, :2], rtol=1e-5)


def test_the_token_of_a_segment_is_at_its_innermost_point() -> None:
    image = observe()[0]
    mask = np.zeros(SIZE, bool)
    mask[8:41, 40:73] = True  # the center is at row 24, column 56
    segment = next(one for one in image.prediction.segments if not one.is_thing)
    (encoder,) = segment_points(image, segment, mask)
    (x, y), (height, width) = encoder.origins[0].tolist(), (SIZE[0] / 8, SIZE[1] / 8)
    assert (int(x * width), int(y * height)) == (56 // 8, 24 // 8)


def test_only_points_inside_the_mask_and_the_image_count() -> None:
    xy = np.array([[0.1, 0.1], [0.9, 0.1], [1.2, 0.1], [-0.01, 0.5]], np.float32)
    weights = np.array([0.4, 0.3, 0.2, 0.1], np.float32)
    origins = np.zeros((1, 2), np.float32)
    points = SampledPoints("encoder", xy.reshape(1, 1, 1, 4, 2), weights.reshape(1, 1, 1, 4), origins)
    left = np.zeros((10, 20), bool)
    left[:, :10] = True
    for mask, expected in ((left, 0.4), (~left, 0.3), (np.ones_like(left), 0.7)):
        np.testing.assert_allclose(points.inside(mask), [[expected]], rtol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_everything_of_every_network_can_be_drawn(name: str) -> None:
    image = observe(NETWORKS[name], count=1)[0]
    for segment in image.largest(1):
        rows = 2 if segment.candidate < image.found.selected else 1
        assert draw_sampling(image, segment).shape[0] == rows * (192 + 30) + 10
        assert np.ptp(draw_attention(image, segment)) > 200


def test_networks_without_a_location_decoder_have_points_of_the_encoder_alone() -> None:
    config = replace(NETWORKS["version 1"], location_layers=0)
    image = observe(config, count=1)[0]
    segment = image.prediction.segments[0]
    assert [one.part for one in segment_points(image, segment, image.prediction.ids == segment.id)] == ["encoder"]
