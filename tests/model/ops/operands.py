"""Seeded operands of the operator, and the operator written out pixel by pixel."""

import math
import random
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.ops import reference
from model.ops.ms_deform_attn import level_starts, ms_deform_attn

Shapes = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Operands:
    """Operands of the operator; the levels follow each other."""

    value: Tensor
    shapes: Shapes
    locations: Tensor
    weights: Tensor

    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.value, self.locations, self.weights

    def arguments(self) -> tuple[Tensor, Shapes, tuple[int, ...], Tensor, Tensor]:
        return self.value, self.shapes, level_starts(self.shapes), self.locations, self.weights

    def attend(self) -> Tensor:
        return ms_deform_attn(*self.arguments())

    def expected(self) -> Tensor:
        return reference.forward(*self.arguments())

    def to(self, value: torch.dtype, others: torch.dtype) -> "Operands":
        tensors = self.value.to(value), self.locations.to(others), self.weights.to(others)
        return replace(self, value=tensors[0], locations=tensors[1], weights=tensors[2])


def make_operands(
    shapes: Shapes, batch: int = 2, queries: int = 3, heads: int = 2, channels: int = 3, points: int = 2, seed: int = 0
) -> Operands:
    """Make operands in float64, with a third of the samples outside."""
    generator = torch.Generator().manual_seed(seed + sum(height * 7 + width for height, width in shapes))
    tokens = sum(height * width for height, width in shapes)
    value = torch.randn(batch, tokens, heads, channels, generator=generator, dtype=torch.float64)
    size = batch, queries, heads, len(shapes), points
    places = torch.rand(*size, 2, generator=generator, dtype=torch.float64)
    weights = torch.rand(*size, generator=generator, dtype=torch.float64)
    return Operands(value, shapes, places * 1.6 - 0.3, weights)


def random_operands(seed: int) -> Operands:
    """Make operands of any shape: levels of one pixel, no queries, no images; some locations far outside or NaN."""
    draw = random.Random(seed)
    shapes = tuple((draw.choice((1, 2, 5, 9)), draw.choice((1, 3, 4, 8))) for _ in range(draw.randint(1, 4)))
    operands = make_operands(
        shapes,
        batch=draw.choice((0, 1, 2, 3)),
        queries=draw.choice((0, 1, 5, 70)),
        heads=draw.choice((1, 2, 4)),
        channels=draw.choice((1, 3, 8, 16, 32, 40, 67)),
        points=draw.randint(1, 4),
        seed=seed,
    )
    odd = torch.rand(operands.locations.shape, generator=torch.Generator().manual_seed(seed))
    for share, place in ((0.02, math.nan), (0.04, math.inf), (0.06, -math.inf), (0.08, 1e20), (0.1, -3e9)):
        operands.locations[(odd < share) & (odd >= share - 0.02)] = place
    return operands


def brute_force(operands: Operands) -> Tensor:
    """The definition, one pixel at a time."""
    value, locations, weights = operands.tensors()
    batch, queries, heads, levels, points, _ = locations.shape
    result = torch.zeros(batch, queries, heads, value.shape[-1], dtype=value.dtype)
    for b, q, h, level, p in torch.cartesian_prod(
        *(torch.arange(size) for size in (batch, queries, heads, levels, points))
    ).tolist():
        height, width = operands.shapes[level]
        start = level_starts(operands.shapes)[level]
        x, y = (locations[b, q, h, level, p] * torch.tensor([width, height]) - 0.5).tolist()
        for row in (math.floor(y), math.floor(y) + 1):
            for column in (math.floor(x), math.floor(x) + 1):
                if 0 <= row < height and 0 <= column < width:
                    share = (1 - abs(y - row)) * (1 - abs(x - column))
                    token = value[b, start + row * width + column, h]
                    result[b, q, h] += weights[b, q, h, level, p] * share * token
    return result.flatten(2)
