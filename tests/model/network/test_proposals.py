"""Queries that start from the encoder: their anchors and the choice of tokens, with and without padding."""

from dataclasses import replace

import torch

from model.network.queries import FINEST_SIZE, EncoderQueries, anchors
from tests.model.network.tiny_network import SHAPES, THINGS, TINY, random_memory

CONFIG = replace(TINY, query_initialization="encoder")


def test_anchors_are_centered_at_their_tokens() -> None:
    found = anchors(random_memory())[0]
    start = 0
    for level, (height, width) in enumerate(SHAPES):
        for row in range(height):
            for column in range(width):
                x, y, w, h = found[start + row * width + column].tolist()
                assert abs(x - (column + 0.5) / width) < 1e-6
                assert abs(y - (row + 0.5) / height) < 1e-6
                assert w == h
                assert abs(w - FINEST_SIZE * 2**level) < 1e-6
        start += height * width


def test_a_padded_image_has_the_anchors_and_queries_of_its_valid_part() -> None:
    """Half the width of every level is padding: boxes are relative to the other half, where all queries start."""
    memory = random_memory(batch=1)
    shapes = SHAPES[:2]
    columns = torch.cat([torch.arange(width).repeat(height) >= width // 2 for height, width in shapes])
    ratios = torch.tensor([[[0.5, 1.0]] * len(shapes)])
    padded = replace(
        memory,
        tokens=memory.tokens[:, : len(columns)],
        padding_mask=columns[None],
        spatial_shapes=shapes,
        valid_ratios=ratios,
    )
    found = anchors(padded)[0, ~columns]
    assert ((found[:, :2] > 0) & (found[:, :2] < 1)).all()
    torch.manual_seed(0)
    start, proposals = EncoderQueries(CONFIG, THINGS)(padded)
    best = proposals.class_logits[0].amax(-1).topk(CONFIG.queries).indices
    assert not columns[best].any()
    assert start.reference is not None
    torch.testing.assert_close(start.reference[0], proposals.boxes[0, best])


def test_fewer_tokens_than_queries_all_become_queries() -> None:
    memory = random_memory()
    config = replace(CONFIG, queries=1000)
    start, _ = EncoderQueries(config, THINGS)(memory)
    assert start.states.shape == (2, memory.tokens.shape[1], config.channels)


def test_references_carry_no_gradient_but_contents_do() -> None:
    memory = random_memory()
    memory.tokens.requires_grad_()
    start, _ = EncoderQueries(CONFIG, THINGS)(memory)
    assert start.reference is not None
    assert not start.reference.requires_grad
    (gradient,) = torch.autograd.grad(start.states.square().sum(), memory.tokens)
    assert (gradient != 0).any(-1).sum() == 2 * CONFIG.queries
