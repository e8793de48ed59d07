"""Deformable attention by whichever backend is active here: what it computes, takes and refuses."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from model.ops import backends, cpu, triton_kernels
from model.ops.ms_deform_attn import level_starts, ms_deform_attn
from model.ops.operands import TYPES
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


def test_takes_sizes_as_tensors() -> None:
    operands = make_operands(TWO_LEVELS)
    sizes = torch.tensor(TWO_LEVELS), torch.tensor(level_starts(TWO_LEVELS))
    assert torch.equal(ms_deform_attn(operands.value, *sizes, operands.locations, operands.weights), operands.attend())


@pytest.mark.parametrize("others", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("value", TYPES)
def test_sums_in_high_precision_and_answers_in_the_type_of_the_value(value: torch.dtype, others: torch.dtype) -> None:
    operands = make_operands(TWO_LEVELS, channels=40, points=4).to(value, others)
    exact = operands.to(torch.float64, torch.float64).expected()
    torch.testing.assert_close(operands.attend(), exact.to(value))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: replace(one, shapes=((4, 5),)), r"expected \(2, 3, 2, 1, 2, 2\)"),
        (lambda one: replace(one, shapes=((4, 5), (2, 4))), "fill the 26 tokens"),
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


@pytest.mark.parametrize("entrance", ["function", "operator", "gradients", "cpu", "cpu gradients", "triton"])
@pytest.mark.parametrize(
    ("shapes", "starts", "message"),
    [
        (((2, 2), (2, 2)), (0, 0), r"start at the tokens \[0, 0\]; expected \[0, 4\], one after the other"),
        (((2, 2), (1, 3)), (0, 5), r"start at the tokens \[0, 5\]; expected \[0, 4\]"),
        (((2, 2), (2, 2)), (-4, 0), r"start at the tokens \[-4, 0\]"),
        (((2, 2), (2, 2)), (4, 0), r"start at the tokens \[4, 0\]"),
        (((2, 2), (2, 1)), (0, 4), "have 6 tokens; expected them to fill the 8 tokens"),
        (((2, 2), (200, 200)), (0, 4), "have 40004 tokens; expected them to fill the 8"),
        (((2, 2), (0, 2)), (0, 4), "a level of 0 x 2 tokens; expected height x width of at least 1 x 1"),
        (((2, 2), (-2, -2)), (0, 4), "a level of -2 x -2 tokens"),
        (((2, 2), (1, 2**24 + 1)), (0, 4), "at most 16777216 x 16777216"),
        (((2, 2), (2**62, 4)), (0, 4), "at most 16777216 x 16777216"),
        (((2, 2), (2, 2)), (0,), r"start at the tokens \[0\]"),
    ],
)
def test_levels_that_do_not_fill_the_value_are_refused_at_every_entrance(
    shapes: Shapes, starts: tuple[int, ...], message: str, entrance: str
) -> None:
    one = make_operands(((2, 2), (2, 2)))
    flat, grad = [size for shape in shapes for size in shape], torch.zeros(2, 3, 6, dtype=torch.float64)
    operands, operators = (one.value, shapes, starts, one.locations, one.weights), torch.ops.panoptic
    calls: dict[str, Callable[[], object]] = {
        "function": lambda: ms_deform_attn(*operands),
        "operator": lambda: operators.ms_deform_attn(one.value, flat, starts, one.locations, one.weights),
        "gradients": lambda: operators.ms_deform_attn_backward(
            grad, one.value, flat, starts, one.locations, one.weights
        ),
        "cpu": lambda: cpu.forward(*operands),
        "cpu gradients": lambda: cpu.backward(grad, *operands, deterministic=True),
        "triton": lambda: triton_kernels.forward(*operands),
    }
    with pytest.raises(ValueError, match=message):
        calls[entrance]()


def test_a_gradient_of_another_size_and_half_a_level_are_refused() -> None:
    one = make_operands(((2, 2), (2, 2)))
    flat, short = [2, 2, 2, 2], torch.zeros(2, 3, 5, dtype=torch.float64)
    backward, forward = torch.ops.panoptic.ms_deform_attn_backward, torch.ops.panoptic.ms_deform_attn
    with pytest.raises(ValueError, match=r"gradient of the result is \(2, 3, 5\); expected \(2, 3, 6\)"):
        backward(short, one.value, flat, [0, 4], one.locations, one.weights)
    with pytest.raises(ValueError, match="spatial_shapes has 3 numbers"):
        forward(one.value, flat[:3], [0, 4], one.locations, one.weights)


def test_the_compiled_core_refuses_levels_and_memory_that_do_not_fit() -> None:
    core = pytest.importorskip("model.ops._ms_deform_attn")
    for levels, message in (
        ([(2, 2, 0), (2, 2, 0)], "starts at token 0; expected 4"),
        ([(200, 200, 0)], "or more tokens; expected 8"),
        ([(2, 2, 0)], "have 4 or more tokens; expected 8"),
        ([(1, 2**24 + 1, 0)], r"expected 1 x 1 to 2\^24"),
    ):
        with pytest.raises(ValueError, match=message):
            core.Sizes(1, 8, 1, 1, 1, 1, levels)
    sizes = core.Sizes(1, 8, 1, 1, 1, 1, [(2, 4, 0)])
    memory = torch.zeros(16)
    with pytest.raises(ValueError, match="a tensor has 7 numbers; expected 8"):
        core.forward(sizes, "float32", *((memory.data_ptr(), count) for count in (7, 2, 1, 1)), 1, "baseline")
    huge = core.Sizes(2**40, 8, 2**40, 1, 1, 1, [(2, 4, 0)])
    with pytest.raises(ValueError, match="a size is negative, or no memory"):
        core.forward(huge, "float32", *((memory.data_ptr(), count) for count in (8, 2, 1, 1)), 1, "baseline")


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
