"""The Triton kernels, run by Triton's interpreter, against the plain reference; and that they compile for a GPU.

Triton decides between interpreter and compiler when it is imported, so each runs in a process of its own.
"""

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import accumulate

import pytest
import torch
from torch import Tensor

from model.ops import reference, triton_kernels
from model.ops.ms_deform_attn import level_starts

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
Shapes = tuple[tuple[int, int], ...]
TOLERANCES = {torch.float64: 1e-12, torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}


@dataclass(frozen=True)
class Case:
    """Operands, and the gradient of the output."""

    shapes: Shapes
    value: Tensor
    locations: Tensor
    weights: Tensor
    grad: Tensor

    @property
    def starts(self) -> list[int]:
        return [0, *accumulate(height * width for height, width in self.shapes)][:-1]


def made(number: int) -> Case:
    """A seeded case: sizes, types, odd numbers of channels, levels of one pixel, a third of the samples outside."""
    generator = torch.Generator().manual_seed(number)

    def pick(*choices: int) -> int:
        return choices[int(torch.randint(len(choices), (), generator=generator))]

    batch, heads, levels, points = ((1, 2, 1, 2), (2, 1, 2, 1), (1, 1, 2, 2), (1, 1, 1, 3), (1, 3, 1, 1))[number % 5]
    queries, channels = pick(1, 3, 16, 17, 20), pick(1, 3, 4, 5, 8, 16)
    shapes = tuple((pick(1, 1, 3, 6), pick(1, 2, 5)) for _ in range(levels))
    dtype = list(TOLERANCES)[number % 4]
    places = dtype if number % 8 == 6 else torch.promote_types(dtype, torch.float32)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    samples = (batch, queries, heads, levels, points)
    return Case(
        shapes,
        normal(batch, sum(height * width for height, width in shapes), heads, channels).to(dtype),
        (torch.rand(*samples, 2, generator=generator, dtype=torch.float64) * 1.6 - 0.3).to(places),
        normal(*samples).to(places),
        normal(batch, queries, heads * channels).to(dtype),
    )


def expected(case: Case) -> tuple[Tensor, ...]:
    """Output and gradients by the reference in float64."""
    operands = [part.double().requires_grad_() for part in (case.value, case.locations, case.weights)]
    output = reference.forward(operands[0], case.shapes, level_starts(case.shapes), operands[1], operands[2])
    return output.detach(), *torch.autograd.grad(output, operands, case.grad.double())


def run(case: Case, deterministic: bool = False) -> tuple[Tensor, ...]:
    """Output and gradients by Triton."""
    operands = (case.value, case.shapes, case.starts, case.locations, case.weights)
    output = triton_kernels.forward(*operands)
    return output, *triton_kernels.backward(case.grad, *operands, deterministic=deterministic)


@contextmanager
def process(interpret: bool) -> Iterator[ProcessPoolExecutor]:
    """A process that imports Triton with its interpreter switched on, or off."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", str(int(interpret)))
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            pool.submit(os.getpid).result()  # started now, with this environment
            yield pool


@pytest.fixture(scope="module")
def interpreter() -> Iterator[ProcessPoolExecutor]:
    with process(interpret=True) as pool:
        yield pool


def agree(case: Case, found: tuple[Tensor, ...]) -> None:
    names = ("output", "gradient of the values", "of the locations", "of the weights")
    types = (case.value.dtype, case.value.dtype, case.locations.dtype, case.weights.dtype)
    for name, dtype, one, other in zip(names, types, found, expected(case), strict=True):
        assert one.dtype == dtype
        scale = max(1.0, float(other.abs().max())) if other.numel() else 1.0
        worst = float((one.double() - other).abs().max()) / scale if other.numel() else 0.0
        assert worst < TOLERANCES[dtype], f"{name}: {worst}"


@needs_triton
@pytest.mark.parametrize("number", range(40))
def test_agrees_with_the_reference(number: int, interpreter: ProcessPoolExecutor) -> None:
    case = made(number)
    agree(case, interpreter.submit(run, case, number % 2 == 1).result())


@needs_triton
def test_nan_stays_where_it_is(interpreter: ProcessPoolExecutor) -> None:
    case = made(10)
    value = case.value.clone()
    value[0, 0, 0, 0] = torch.nan
    output, *_ = interpreter.submit(run, replace(case, value=value)).result()
    reached = reference.forward(
        value.double(), case.shapes, level_starts(case.shapes), case.locations.double(), case.weights.double()
    ).isnan()
    assert reached.any()
    assert not reached.all()
    assert torch.equal(output.isnan(), reached)


@needs_triton
@pytest.mark.parametrize("odd", [torch.nan, torch.inf, -torch.inf, 1e30])
def test_nan_locations_count_as_zero(odd: float, interpreter: ProcessPoolExecutor) -> None:
    case = made(1)
    places = case.locations.clone()
    places[..., 0, 1] = odd
    found = interpreter.submit(run, replace(case, locations=places)).result()
    outside = case.locations.clone()
    outside[..., 0, 1] = 7.0
    agree(replace(case, locations=outside), found)


@needs_triton
def test_no_queries_and_no_images(interpreter: ProcessPoolExecutor) -> None:
    case = made(2)
    none = replace(case, locations=case.locations[:, :0], weights=case.weights[:, :0], grad=case.grad[:, :0])
    empty = Case(case.shapes, *(part[:0] for part in (case.value, case.locations, case.weights, case.grad)))
    for one in (none, empty):
        output, to_value, to_locations, to_weights = interpreter.submit(run, one).result()
        assert output.shape == one.grad.shape
        assert (to_locations.shape, to_weights.shape) == (one.locations.shape, one.weights.shape)
        assert to_value.shape == one.value.shape
        assert not to_value.any()


@needs_triton
def test_operands_in_any_layout(interpreter: ProcessPoolExecutor) -> None:
    case = made(3)
    parts = (case.value, case.locations, case.weights, case.grad)
    strided = Case(case.shapes, *(part.transpose(0, 1).contiguous().transpose(0, 1) for part in parts))
    agree(case, interpreter.submit(run, strided).result())


@needs_triton
def test_deterministic_sums_do_not_depend_on_the_order_of_queries(interpreter: ProcessPoolExecutor) -> None:
    case = made(0)
    order = torch.randperm(case.grad.shape[1], generator=torch.Generator().manual_seed(0))
    parts = (part[:, order].contiguous() for part in (case.locations, case.weights, case.grad))
    shuffled = Case(case.shapes, case.value, *parts)
    assert len(order) > 2
    first, second = (interpreter.submit(run, one, True).result() for one in (case, shuffled))
    assert torch.equal(first[1], second[1])


@needs_triton
@pytest.mark.parametrize("factor", [1e-30, 1e30])
def test_fixed_point_fits_gradients_of_any_size(factor: float, interpreter: ProcessPoolExecutor) -> None:
    case = made(1)
    small = replace(case, grad=case.grad * factor)
    found = interpreter.submit(run, small, True).result()[1]
    torch.testing.assert_close(found / factor, expected(case)[1].float(), atol=2e-5, rtol=1e-5)


@needs_triton
def test_a_gradient_that_is_not_finite_shows(interpreter: ProcessPoolExecutor) -> None:
    case = made(1)
    broken = replace(case, grad=case.grad.clone().index_fill(1, torch.tensor([0]), torch.inf))
    assert interpreter.submit(run, broken, True).result()[1].isnan().all()


@needs_triton
def test_levels_have_to_follow_one_another(interpreter: ProcessPoolExecutor) -> None:
    case = made(0)
    one = (case.value, case.shapes, [1] * len(case.shapes), case.locations, case.weights)
    with pytest.raises(ValueError, match="one after the other"):
        interpreter.submit(triton_kernels.forward, *one).result()


@needs_triton
def test_says_why_it_cannot_be_used(interpreter: ProcessPoolExecutor) -> None:
    assert interpreter.submit(triton_kernels.unavailable).result() is None
    with process(interpret=False) as compiler:
        reason = compiler.submit(triton_kernels.unavailable).result()
    assert reason is None if torch.cuda.is_available() else "CUDA" in str(reason)


def test_says_that_triton_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_kernels, "find_spec", lambda name: None)
    assert triton_kernels.unavailable() == "triton is not installed"
