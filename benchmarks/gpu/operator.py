"""Deformable attention on a GPU: ours beside the classic kernels, and the memory traffic that it reaches."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from benchmarks.gpu import classic_cuda
from model.ops import triton_kernels

LEVELS = ((100, 167), (50, 84), (25, 42), (13, 21))  # of an image of 800 x 1333
HEADS, CHANNELS, POINTS = 8, 32, 4
DECODER_QUERIES = 300
COPIED_BYTES = 2**32
WARM_UP = 10


@dataclass(frozen=True)
class Shape:
    """Queries of an image; None: one for each token, as in the encoder."""

    name: str
    batch: int
    queries: int | None = None


SHAPES = (
    *(Shape(f"encoder, batch {batch}", batch) for batch in (1, 2, 8)),
    Shape("decoder, 300 queries, batch 1", 1, DECODER_QUERIES),
)


@dataclass(frozen=True)
class OperatorTime:
    """Milliseconds of every round, of the forward pass alone or with the backward pass; and what it has to move."""

    shape: str
    passes: str
    implementation: str
    milliseconds: tuple[float, ...]
    bytes: int

    @property
    def median(self) -> float:
        return statistics.median(self.milliseconds)

    @property
    def bandwidth(self) -> float:
        """Bytes a second."""
        return self.bytes / self.median * 1000


Operands = tuple[Tensor, Sequence[tuple[int, int]], Sequence[int], Tensor, Tensor]


def operands(shape: Shape, dtype: torch.dtype, device: torch.device) -> Operands:
    """Seeded. Samples lie within some pixels of the query's place, as those of a network do."""
    generator = torch.Generator(device).manual_seed(0)
    tokens = sum(height * width for height, width in LEVELS)
    starts = [0, *accumulate(height * width for height, width in LEVELS)][:-1]
    samples = (shape.batch, shape.queries or tokens, HEADS, len(LEVELS), POINTS)
    if shape.queries:
        places = torch.rand(1, shape.queries, 2, generator=generator, device=device)
    else:
        places = torch.cat([_centers(height, width, device) for height, width in LEVELS])[None]
    pixels = torch.tensor([(width, height) for height, width in LEVELS], device=device)
    offsets = 2 * torch.randn(*samples, 2, generator=generator, device=device) / pixels[:, None]
    weights = torch.randn(*samples, generator=generator, device=device).flatten(3).softmax(-1).view(samples)
    value = torch.randn(shape.batch, tokens, HEADS, CHANNELS, generator=generator, device=device)
    return value.to(dtype), LEVELS, starts, places[:, :, None, None, None] + offsets, weights


def _centers(height: int, width: int, device: torch.device) -> Tensor:
    y = (torch.arange(height, device=device) + 0.5) / height
    x = (torch.arange(width, device=device) + 0.5) / width
    return torch.stack((x.expand(height, width), y[:, None].expand(height, width)), -1).flatten(0, 1)


def bytes_moved(parts: Operands, backward: bool) -> int:
    """The fewest bytes: every operand read once and every result written once, in each pass."""
    value, _, _, places, weights = parts
    size = value.element_size()
    output = places.shape[0] * places.shape[1] * HEADS * CHANNELS * size
    inputs = sum(part.numel() * part.element_size() for part in (value, places, weights))
    return inputs + output + (2 * inputs + output if backward else 0)


def measure_operator(shape: Shape, backward: bool, rounds: int, repeats: int) -> list[OperatorTime]:
    """Ours in float32 and bfloat16 and the classic kernels, in turns."""
    device = torch.device("cuda")
    single, half = (operands(shape, dtype, device) for dtype in (torch.float32, torch.bfloat16))
    runs: dict[str, tuple[Operands, Callable[[], object]]] = {
        "classic, float32": (single, _classic(single, backward)),
        "ours, float32": (single, _ours(single, backward)),
        "ours, bfloat16": (half, _ours(half, backward)),
    }
    if classic_cuda.unavailable():
        del runs["classic, float32"]
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, (_, run) in runs.items():
            times[name].append(milliseconds(run, repeats))
    passes = "forward and backward" if backward else "forward"
    return [
        OperatorTime(shape.name, passes, name, tuple(times[name]), bytes_moved(parts, backward))
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
    """Largest difference of the classic forward pass from ours, that of the largest value being 1."""
    parts = operands(SHAPES[-1], torch.float32, torch.device("cuda"))
    ours, classic = triton_kernels.forward(*parts), classic_cuda.forward(*parts)
    return float((ours - classic).abs().max() / ours.abs().max())


def milliseconds(run: Callable[[], object], repeats: int) -> float:
    """Of one run on the device, the mean of `repeats` without a gap between them."""
    for _ in range(WARM_UP):
        run()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(repeats):
        run()
    torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - started) / repeats


def copy_bandwidth(repeats: int) -> float:
    """Bytes a second that a large copy on the device reads and writes."""
    source = torch.randint(256, (COPIED_BYTES,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * COPIED_BYTES / milliseconds(lambda: target.copy_(source), repeats) * 1000
