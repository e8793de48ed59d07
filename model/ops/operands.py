"""Operands of multi-scale deformable attention, checked at the entrance of every backend.

The backends compute addresses in memory from these sizes, so that a level beyond its value would read or write what
belongs to others, and levels that overlap would each overwrite the gradient of the other.
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

TYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
WIDEST = 2**24
"""Sides of levels up to which float32, in which places are computed, counts every pixel."""
Shapes = Sequence[Sequence[int]]


def level_starts(spatial_shapes: Shapes) -> tuple[int, ...]:
    """First token of each level where the levels follow each other."""
    return tuple(accumulate((height * width for height, width in spatial_shapes[:-1]), initial=0))


def require_operands(
    value: Tensor,
    shapes: Shapes,
    starts: Sequence[int],
    locations: Tensor,
    weights: Tensor,
    grad: Tensor | None = None,
) -> None:
    """Check that operands, and the gradient of the result if it is given, fit each other.

    Raises:
        ValueError: they do not; says what was found and expected.
    """
    if value.dim() != 4 or locations.dim() != 6:
        raise ValueError(
            f"value {tuple(value.shape)} and sampling_locations {tuple(locations.shape)};"
            " expected (B, S, H, D) and (B, Q, H, L, P, 2)"
        )
    batch, tokens, heads, channels = value.shape
    queries, points = locations.shape[1], locations.shape[4]
    expected = (batch, queries, heads, len(shapes), points, 2)
    reason = f"as value is {tuple(value.shape)} and there are {len(shapes)} levels"
    _require_shape("sampling_locations", locations, expected, reason)
    _require_shape("attention_weights", weights, expected[:-1], "as the sampling locations")
    tensors = {"value": value, "sampling_locations": locations, "attention_weights": weights}
    if grad is not None:
        _require_shape("the gradient of the result", grad, (batch, queries, heads * channels), reason)
        tensors["the gradient of the result"] = grad
    for name, tensor in tensors.items():
        if tensor.dtype not in TYPES:
            raise ValueError(f"{name} is {tensor.dtype}; expected one of {', '.join(map(str, TYPES))}")
        if tensor.device != value.device:
            raise ValueError(f"{name} is on {tensor.device}; expected {value.device}, as value")
    _require_levels(shapes, starts, tokens)


def _require_shape(name: str, tensor: Tensor, expected: tuple[int, ...], reason: str) -> None:
    if tensor.shape != expected:
        raise ValueError(f"{name} is {tuple(tensor.shape)}; expected {expected}, {reason}")


def _require_levels(shapes: Shapes, starts: Sequence[int], tokens: int) -> None:
    for shape in shapes:
        if len(shape) != 2 or not all(isinstance(side, int | torch.SymInt) and 1 <= side <= WIDEST for side in shape):
            raise ValueError(
                f"a level of {' x '.join(map(str, shape))} tokens; expected height x width of at least 1 x 1 and at "
                f"most {WIDEST} x {WIDEST}, up to where float32 counts every pixel"
            )
    if tuple(starts) != level_starts(shapes)[: len(shapes)]:
        raise ValueError(
            f"levels of {list(map(tuple, shapes))} start at the tokens {list(starts)}; expected "
            f"{list(level_starts(shapes)[: len(shapes)])}, one after the other, without gaps and overlaps"
        )
    if sum(height * width for height, width in shapes) != tokens:
        raise ValueError(
            f"levels of {list(map(tuple, shapes))} have {sum(height * width for height, width in shapes)} tokens; "
            f"expected them to fill the {tokens} tokens of value"
        )
