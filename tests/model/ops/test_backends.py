"""Every backend against the reference, and the choice of a backend."""

import subprocess
import sys
from types import ModuleType

import pytest
import torch
from torch import Tensor

from model.ops import backends, cpu, reference
from model.ops.backends import Gradients
from tests.model.ops.operands import Operands, make_operands, random_operands

compiled = pytest.mark.skipif(bool(cpu.unavailable()), reason=f"model.ops.cpu: {cpu.unavailable()}")


@compiled
def test_equals_the_reference_on_any_shape() -> None:
    for seed in range(200):
        operands = random_operands(seed)
        torch.testing.assert_close(cpu.forward(*operands.arguments()), operands.expected(), msg=f"seed {seed}")


@compiled
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("processor", cpu.PROCESSORS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_on_every_processor(processor: str, dtype: torch.dtype, seed: int) -> None:
    operands = random_operands(seed).to(dtype, dtype)
    grad = torch.randn_like(operands.expected())
    found = cpu.backward(grad, *operands.arguments(), True, processor)
    expected = reference.backward(grad, *operands.arguments(), True)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=2e-4)
    torch.testing.assert_close(cpu.forward(*operands.arguments(), processor), operands.expected(), atol=1e-5, rtol=1e-5)


@compiled
def test_takes_what_is_not_contiguous() -> None:
    operands = make_operands(((4, 5), (2, 3)), heads=3)
    turned = Operands(
        operands.value.transpose(1, 2).contiguous().transpose(1, 2),
        operands.shapes,
        operands.locations.flip(-1).contiguous().flip(-1).transpose(1, 2).contiguous().transpose(1, 2),
        operands.weights.movedim(-1, 0).contiguous().movedim(0, -1),
    )
    assert not any(tensor.is_contiguous() for tensor in turned.tensors())
    grad = torch.randn(2, 9, 3, dtype=torch.float64).transpose(1, 2)
    assert torch.equal(cpu.forward(*turned.arguments()), cpu.forward(*operands.arguments()))
    for one, other in zip(_gradients(turned, grad), _gradients(operands, grad.contiguous()), strict=True):
        assert torch.equal(one, other)


@compiled
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_threads_change_no_bit(dtype: torch.dtype) -> None:
    operands = make_operands(((30, 40), (15, 20)), queries=1500, heads=4, channels=32).to(dtype, torch.float32)
    grad = torch.randn(2, 1500, 128)
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append((cpu.forward(*operands.arguments()), *_gradients(operands, grad)))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(result, results[0], strict=True))


@compiled
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("processor", cpu.PROCESSORS)
def test_every_number_is_converted_as_torch_does(dtype: torch.dtype, processor: str) -> None:
    """One token a query, looked at in its center: all bit patterns but infinities, in and out."""
    value = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16).view(dtype)
    value = value[~value.isinf()].repeat_interleave(2).view(-1, 1, 1, 2 * 2)
    places = len(value), 1, 1, 1, 1
    found = cpu.forward(value, [(1, 1)], [0], torch.full((*places, 2), 0.5), torch.full(places, 0.7), processor)
    expected = (value.float() * 0.7).to(dtype).view_as(found)
    torch.testing.assert_close(found, expected, atol=0, rtol=0, equal_nan=True)


def _gradients(operands: Operands, grad: Tensor) -> Gradients:
    return cpu.backward(grad, *operands.arguments(), True)


def test_a_gpu_is_not_needed() -> None:
    assert backends.choose("meta") == "reference"
    assert backends.choose("cpu") == ("reference" if cpu.unavailable() else "cpu")
    assert backends.why_not("mmcv", "cpu") == "it runs on cuda tensors only, not on cpu"


def test_falls_back_without_a_compiled_core(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys; sys.modules['model.ops._ms_deform_attn'] = None\n"
        "from model.ops import backends\nprint(backends.choose('cpu'), backends.why_not('cpu', 'cpu'))"
    )
    monkeypatch.delenv(backends.VARIABLE, raising=False)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("reference it was not compiled")


@pytest.mark.parametrize(
    ("name", "reason"), [("fastest", "expected one of triton, mmcv"), ("mmcv", "cuda tensors only")]
)
def test_refuses_what_cannot_run(name: str, reason: str) -> None:
    operands = make_operands(((4, 5),))
    with backends.using(name), pytest.raises(ValueError, match=reason):
        operands.attend()
    assert operands.attend().isfinite().all()


def test_mmcv_is_called_as_it_expects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a stand-in with the signatures of mmcv 2.2 (`mmcv/ops/multi_scale_deform_attn.py`)."""
    from model.ops import mmcv

    def arguments(*tensors: Tensor) -> tuple[Tensor, list[list[int]], list[int], Tensor, Tensor]:
        value, shapes, starts, locations, weights = tensors
        return value, shapes.tolist(), starts.tolist(), locations, weights

    extension = ModuleType("mmcv._ext")

    def forward(*tensors: Tensor, im2col_step: int) -> Tensor:
        assert len(tensors[0]) % im2col_step == 0
        return reference.forward(*arguments(*tensors))

    def backward(*tensors: Tensor, im2col_step: int) -> None:
        found = reference.backward(tensors[5], *arguments(*tensors[:5]), False)
        for one, place in zip(found, tensors[6:], strict=True):
            place += one

    vars(extension).update(ms_deform_attn_forward=forward, ms_deform_attn_backward=backward)
    package = ModuleType("mmcv")
    vars(package).update(_ext=extension)
    monkeypatch.setitem(sys.modules, "mmcv", package)
    monkeypatch.setitem(sys.modules, "mmcv._ext", extension)
    operands = make_operands(((4, 5), (2, 3)), batch=3).to(torch.bfloat16, torch.float32)
    grad = torch.randn(3, 3, 6).bfloat16()
    torch.testing.assert_close(mmcv.forward(*operands.arguments()), operands.expected())
    found = mmcv.backward(grad, *operands.arguments(), False)
    for one, other in zip(found, reference.backward(grad, *operands.arguments(), False), strict=True):
        torch.testing.assert_close(one, other)
    with pytest.raises(RuntimeError, match="deterministic"):
        mmcv.backward(grad, *operands.arguments(), True)


def test_the_operator_is_imported_without_the_compiler() -> None:
    program = "import sys, model.ops.ms_deform_attn; assert 'torch._dynamo' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
