"""Deformable attention against bilinear sampling written out pixel by pixel, and its gradients."""

import math

import pytest
import torch
from torch import Tensor

from model.ops.ms_deform_attn import ms_deform_attn

Shapes = tuple[tuple[int, int], ...]
Operands = tuple[Tensor, Tensor, Tensor]  # value, sampling locations, attention weights


def operands(shapes: Shapes, batch: int = 2, queries: int = 3, heads: int = 2, dim: int = 3) -> Operands:
    """Seeded float64 operands; a third of the samples lies outside."""
    generator = torch.Generator().manual_seed(sum(height * 7 + width for height, width in shapes))
    points = 2
    tokens = sum(height * width for height, width in shapes)
    value = torch.randn(batch, tokens, heads, dim, generator=generator, dtype=torch.float64)
    places = torch.rand(batch, queries, heads, len(shapes), points, 2, generator=generator, dtype=torch.float64)
    weights = torch.rand(batch, queries, heads, len(shapes), points, generator=generator, dtype=torch.float64)
    return value, places * 1.6 - 0.3, weights


def brute_force(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    batch, queries, heads, levels, points, _ = locations.shape
    result = torch.zeros(batch, queries, heads, value.shape[-1], dtype=value.dtype)
    for b, q, h, level, p in torch.cartesian_prod(
        *(torch.arange(size) for size in (batch, queries, heads, levels, points))
    ).tolist():
        height, width = shapes[level]
        start = sum(rows * columns for rows, columns in shapes[:level])
        x, y = (locations[b, q, h, level, p] * torch.tensor([width, height]) - 0.5).tolist()
        for row in (math.floor(y), math.floor(y) + 1):
            for column in (math.floor(x), math.floor(x) + 1):
                if 0 <= row < height and 0 <= column < width:
                    share = (1 - abs(y - row)) * (1 - abs(x - column))
                    token = value[b, start + row * width + column, h]
                    result[b, q, h] += weights[b, q, h, level, p] * share * token
    return result.flatten(2)


@pytest.mark.parametrize("shapes", [((4, 5), (2, 3)), ((1, 1),), ((3, 1), (1, 4), (1, 1))])
def test_equals_brute_force(shapes: Shapes) -> None:
    value, locations, weights = operands(shapes)
    expected = brute_force(value, shapes, locations, weights)
    torch.testing.assert_close(ms_deform_attn(value, shapes, locations, weights), expected)


@pytest.mark.parametrize("shapes", [((4, 5), (2, 3)), ((3, 1), (1, 1))])
def test_gradients(shapes: Shapes) -> None:
    value, locations, weights = (part.requires_grad_() for part in operands(shapes, batch=1, queries=2))
    assert torch.autograd.gradcheck(lambda v, x, a: ms_deform_attn(v, shapes, x, a), (value, locations, weights))


def test_far_outside_is_zero() -> None:
    value, locations, weights = operands(((4, 5),))
    assert not ms_deform_attn(value, ((4, 5),), locations + 3, weights).any()


def test_no_queries() -> None:
    value, locations, weights = operands(((4, 5),))
    assert ms_deform_attn(value, ((4, 5),), locations[:, :0], weights[:, :0]).shape == (2, 0, 6)


def test_computes_in_the_precision_of_the_locations() -> None:
    value, locations, weights = operands(((4, 5),))
    result = ms_deform_attn(value.bfloat16(), ((4, 5),), locations.float(), weights.float())
    exact = ms_deform_attn(value.bfloat16().double(), ((4, 5),), locations, weights)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, exact.float(), atol=1e-5, rtol=1e-5)
