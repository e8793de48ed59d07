"""Deformable attention on a GPU: our kernels beside the classic ones, and the memory bandwidth that they reach."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.gpu import classic_cuda
from benchmarks.harness.device import timer_for
from benchmarks.harness.interleave import interleave
from benchmarks.operator.cases import COCO_LEVELS, Case, draw_operands
from model.ops import triton_kernels
from model.ops.ms_deform_attn import level_starts

HEADS, CHANNELS, POINTS = 8, 32, 4
COPIED_BYTES = 2**32
CASES = (
    *(Case(COCO_LEVELS, batch, 0, HEADS, CHANNELS, POINTS, f"encoder, batch {batch}") for batch in (1, 2, 8)),
    Case(COCO_LEVELS, 1, 300, HEADS, CHANNELS, POINTS, "decoder, 300 queries, batch 1"),
)


@dataclass(frozen=True)
class KernelCost:
    """Milliseconds of every round, forward alone or with backward, and the bytes that have to move."""

    shape: str
    passes: str
    implementation: str
    milliseconds: tuple[float, ...]
    bytes: int

    @property
    def median(self) -> float:
        """Milliseconds."""
        return statistics.median(self.milliseconds)

    @property
    def bandwidth(self) -> float:
        """Bytes per second."""
        return self.bytes / self.median * 1000


Operands = tuple[Tensor, Sequence[tuple[int, int]], Sequence[int], Tensor, Tensor]


def operands(case: Case, dtype: torch.dtype, device: torch.device) -> Operands:
    """Draw operands on a device; only the value has another type than float32."""
    value, locations, weights = (operand.to(device) for operand in draw_operands(case))
    return value.to(dtype), case.shapes, level_starts(case.shapes), locations, weights


def bytes_moved(parts: Operands, backward: bool) -> int:
    """Return the fewest bytes: every operand read once and every result written once, in each pass."""
    value, _, _, locations, weights = parts
    size = value.element_size()
    output = locations.shape[0] * locations.shape[1] * HEADS * CHANNELS * size
    inputs = sum(part.numel() * part.element_size() for part in (value, locations, weights))
    return inputs + output + (2 * inputs + output if backward else 0)


def measure_operator(case: Case, backward: bool, rounds: int, repeats: int) -> list[KernelCost]:
    """Interleave our kernels in float32 and bfloat16 with the classic ones."""
    device = torch.device("cuda")
    single, half = (operands(case, dtype, device) for dtype in (torch.float32, torch.bfloat16))
    runs: dict[str, tuple[Operands, Callable[[], object]]] = {
        "classic, float32": (single, _classic(single, backward)),
        "ours, float32": (single, _ours(single, backward)),
        "ours, bfloat16": (half, _ours(half, backward)),
    }
    if classic_cuda.unavailable():
        del runs["classic, float32"]
    timer = timer_for(device)
    times = interleave({name: partial(timer.mean, run, repeats) for name, (_, run) in runs.items()}, rounds)
    passes = "forward and backward" if backward else "forward"
    return [
        KernelCost(case.title, passes, name, tuple(1000 * taken for taken in times[name]), bytes_moved(parts, backward))
        for name, (parts, _) in runs.items()
    ]


def _ours(parts: Operands, backward: bool) -> Callable[[], object]:
    def run() -> None:
        output = triton_kernels.forward(*parts)
        if backward:
            triton_kernels.backward(output, *parts, deterministic=False)

    return run


def _classic(parts: Operands, backward: bool) -> Callable[[], object]:
    def run() -> None:
        output = classic_cuda.forward(*parts)
        if backward:
            classic_cuda.backward(output, *parts)

    return run


def check_classic() -> float:
    """Return the largest difference of the classic forward pass from ours, relative to the largest value."""
    parts = operands(CASES[-1], torch.float32, torch.device("cuda"))
    ours, classic = triton_kernels.forward(*parts), classic_cuda.forward(*parts)
    return float((ours - classic).abs().max() / ours.abs().max())


def copy_bandwidth(repeats: int) -> float:
    """Return the bytes per second that a large copy on the device reads and writes."""
    source = torch.randint(256, (COPIED_BYTES,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * COPIED_BYTES / timer_for(source.device).mean(lambda: target.copy_(source), repeats)
