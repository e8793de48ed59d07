"""Deformable attention by whichever backend is active here: what it computes, takes and refuses."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from model.ops import backends
from model.ops.ms_deform_attn import level_starts, ms_deform_attn
from tests.model.ops.operands import Operands, Shapes, brute_force, make_operands

TWO_LEVELS: Shapes = ((4, 5), (2, 3))
ACTIVE = sorted({"reference", backends.choose("cpu")})


@pytest.fixture(params=ACTIVE, autouse=True)
def backend(request: pytest.FixtureRequest) -> object:
    with backends.using(request.param):
        yield request.param


@pytest.mark.parametrize("shapes", [TWO_LEVELS, ((1, 1),), ((3, 1), (1, 4), (1, 1))])
def test_equals_brute_force(shapes: Shapes) -> None:
    operands = make_operands(shapes)
    torch.testing.assert_close(operands.attend(), brute_force(operands))


@pytest.mark.parametrize("shapes", [TWO_LEVELS, ((3, 1), (1, 1))])
def test_gradients(shapes: Shapes) -> None:
    operands = make_operands(shapes, batch=1, queries=2, channels=5)
    tensors = tuple(tensor.requires_grad_() for tensor in operands.tensors())
    assert torch.autograd.gradcheck(lambda v, x, a: Operands(v, shapes, x, a).attend(), tensors)


def test_operator_is_what_torch_expects() -> None:
    value, locations, weights = (tensor.requires_grad_() for tensor in make_operands(TWO_LEVELS).tensors())
    flat, starts = [4, 5, 2, 3], [0, 20]
    torch.library.opcheck(torch.ops.panoptic.ms_deform_attn.default, (value, flat, starts, locations, weights))


@pytest.mark.parametrize("far", [3.0, 1e20, -1e20, math.nan, math.inf, -math.inf])
def test_outside_is_zero(far: float) -> None:
    operands = make_operands(TWO_LEVELS)
    away = replace(operands, locations=torch.full_like(operands.locations, far).requires_grad_())
    out = away.attend()
    torch.autograd.backward(out.sum())
    assert not out.any()
    assert away.locations.grad is not None
    assert not away.locations.grad.any()


def test_no_queries_and_no_images() -> None:
    operands = make_operands(TWO_LEVELS)
    none = replace(operands, locations=operands.locations[:, :0], weights=operands.weights[:, :0])
    assert none.attend().shape == (2, 0, 6)
    empty = Operands(operands.value[:0], TWO_LEVELS, operands.locations[:0], operands.weights[:0])
    assert empty.attend().shape == (0, 3, 6)


def test_nan_stays_where_it_is() -> None:
    operands = make_operands(((6, 6),), queries=40, points=1)
    spoiled = operands.value.clone()
    spoiled[:, 14] = math.nan  # row 2, column 2
    x, y = (operands.locations[..., 0, 0, :] * 6 - 0.5).unbind(-1)  # (B, Q, H)
    near = (x > 1) & (x < 3) & (y > 1) & (y < 3)
    nan = replace(operands, value=spoiled).attend().view(2, 40, 2, 3).isnan()
    assert near.any()
    assert torch.equal(nan, near[..., None].expand_as(nan))


def test_tokens_between_the_levels_count_for_nothing() -> None:
    operands = make_operands(TWO_LEVELS)
    spread = torch.full((2, 30, 2, 3), math.nan, dtype=torch.float64)
    spread[:, 1:21], spread[:, 24:30] = operands.value[:, :20], operands.value[:, 20:]
    spread.requires_grad_()
    out = ms_deform_attn(spread, TWO_LEVELS, (1, 24), operands.locations, operands.weights)
    torch.testing.assert_close(out, operands.attend())
    torch.autograd.backward(out.sum())
    assert spread.grad is not None
    assert not spread.grad[:, [0, 21, 22, 23]].any()


def test_takes_sizes_as_tensors() -> None:
    operands = make_operands(TWO_LEVELS)
    sizes = torch.tensor(TWO_LEVELS), torch.tensor(level_starts(TWO_LEVELS))
    assert torch.equal(ms_deform_attn(operands.value, *sizes, operands.locations, operands.weights), operands.attend())


@pytest.mark.parametrize("others", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("value", backends.TYPES)
def test_sums_in_high_precision_and_answers_in_the_type_of_the_value(value: torch.dtype, others: torch.dtype) -> None:
    operands = make_operands(TWO_LEVELS, channels=40, points=4).to(value, others)
    exact = operands.to(torch.float64, torch.float64).expected()
    torch.testing.assert_close(operands.attend(), exact.to(value))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: replace(one, shapes=((4, 5),)), r"expected \(2, 3, 2, 1, 2, 2\)"),
        (lambda one: replace(one, shapes=((4, 5), (2, 4))), "within the 26 tokens"),
        (lambda one: replace(one, shapes=((4, 5), (0, 3))), "at least 1 x 1"),
        (lambda one: replace(one, weights=one.weights[:, :1]), r"attention_weights is \(2, 1, 2, 2, 2\); expected"),
        (lambda one: replace(one, locations=one.locations[0]), r"expected \(B, S, H, D\) and"),
        (lambda one: replace(one, value=one.value.long()), "value is torch.int64; expected one of torch.float32"),
        (lambda one: replace(one, weights=one.weights.to("meta")), "attention_weights is on meta; expected cpu"),
    ],
)
def test_refuses(change: Callable[[Operands], Operands], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        change(make_operands(TWO_LEVELS)).attend()


class _OfMaps(nn.Module):
    """The operator on feature maps (B, 6, h, w)."""

    def forward(self, fine: Tensor, coarse: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        shapes = tuple((level.shape[2], level.shape[3]) for level in (fine, coarse))
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in (fine, coarse)], dim=1)
        return ms_deform_attn(tokens.view(*tokens.shape[:2], 2, 3), shapes, level_starts(shapes), locations, weights)


def _maps(shapes: Shapes, queries: int) -> tuple[Tensor, ...]:
    operands = make_operands(shapes, queries=queries)
    parts = torch.split(operands.value.flatten(2), [height * width for height, width in shapes], dim=1)
    maps = [part.mT.reshape(len(part), -1, *shape) for part, shape in zip(parts, shapes, strict=True)]
    return (*maps, operands.locations, operands.weights)


def test_exports_with_sizes_left_open() -> None:
    size, count = dict.fromkeys((2, 3), torch.export.Dim.DYNAMIC), {1: torch.export.Dim.DYNAMIC}
    exported = torch.export.export(_OfMaps(), _maps(TWO_LEVELS, 3), dynamic_shapes=(size, size, count, count)).module()
    others = _maps(((7, 6), (3, 2)), 5)
    torch.testing.assert_close(exported(*others), _OfMaps()(*others))


def test_compiles_in_one_piece() -> None:
    """Traced with its gradients; turning it into code would take a compiler, and longer."""
    compiled = torch.compile(_OfMaps(), fullgraph=True, backend="aot_eager")
    maps = tuple(part.requires_grad_() for part in _maps(TWO_LEVELS, 3))
    expected = torch.autograd.grad(_OfMaps()(*maps).square().sum(), maps)
    for found, wanted in zip(torch.autograd.grad(compiled(*maps).square().sum(), maps), expected, strict=True):
        torch.testing.assert_close(found, wanted)
