"""Compiles the Triton programs of deformable attention for GPUs that are not there, as a launch on them would."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING

import torch

from benchmarks.kernels.cubin import read_cubin
from benchmarks.kernels.occupancy import SHARED, WARP
from model.network.config import NetworkConfig

if TYPE_CHECKING:
    from triton.backends.compiler import GPUTarget

Blocks = tuple[tuple[int, int], ...]  # queries and warps
TARGETS = tuple(SHARED)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
FORWARD, BACKWARD, FIXED_POINT = "forward", "backward", "backward in fixed point"
PROGRAMS = (FORWARD, BACKWARD, FIXED_POINT)
REJECTED: Blocks = ((8, 2), (32, 8), (32, 4))
"""Blocks and warps that the autotuner does not try: a candidate has the same code and no fewer warps."""


@dataclass(frozen=True)
class Launch:
    """Program, type of the values, compute capability, and the queries and warps of a block."""

    program: str
    dtype: str
    capability: int
    queries: int
    warps: int
    points: int = NetworkConfig().points


@dataclass(frozen=True)
class CompiledLaunch:
    """What a launch needs: of a thread, of its block, and seconds of CPU time to compile it."""

    launch: Launch
    registers: int
    spilled: int
    instructions: int
    shared: int
    seconds: float


_devices = count()


class OfflineDriver:
    """A new GPU by its compute capability alone, which is all that Triton asks for before it launches."""

    def __init__(self, capability: int) -> None:
        self._capability, self._device = capability, next(_devices)

    def get_current_target(self) -> "GPUTarget":
        """Say what to compile for."""
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self._capability, WARP)

    def get_current_device(self) -> int:
        """Number the device, by which Triton keeps what it has compiled."""
        return self._device

    def get_current_stream(self, device: int) -> int:
        """Name the default stream, on which nothing will run."""
        return 0


def require_compiler() -> None:
    """Refuse a process without Triton's compiler.

    Raises:
        ValueError: says what to do.
    """
    try:
        from triton import knobs
    except ImportError:
        raise ValueError("triton is not installed, whose compiler is examined: make install EXTRAS=dev") from None
    if knobs.runtime.interpret:
        raise ValueError("TRITON_INTERPRET is set, with which nothing is compiled; unset it")


def compile_launch(launch: Launch, programs: ModuleType) -> CompiledLaunch:
    """Compile a program of a module as for its first launch, with nothing kept from earlier ones.

    Operands are aligned, as torch allocates them, and of the default network's sizes. Locations and weights are
    float32 beside values of bfloat16, as under autocast.
    """
    from triton import knobs, runtime

    runtime.driver.set_active(OfflineDriver(launch.capability))
    program = programs.forward_program if launch.program == FORWARD else programs.backward_program
    with TemporaryDirectory() as cache, knobs.cache.scope():
        knobs.cache.dir = cache
        before = cpu_seconds()
        kernel = program.warmup(grid=(1,), **_arguments(launch), BLOCK=launch.queries, num_warps=launch.warps)
        seconds = cpu_seconds() - before
    (usage,) = read_cubin(kernel.asm["cubin"]).values()
    return CompiledLaunch(
        launch, usage.registers, usage.spilled, usage.instructions, int(kernel.metadata.shared), seconds
    )


def candidates(program: str, blocks: Blocks) -> Blocks:
    """Return the blocks and warps that a program may run with: fixed point always has the first."""
    return blocks[:1] if program == FIXED_POINT else blocks


def all_launches(tuned: Blocks) -> Iterator[Launch]:
    """List every launch of the page; rejected blocks not in float64."""
    for capability in TARGETS:
        for program in PROGRAMS:
            for dtype in DTYPES:
                blocks = tuned if dtype == "float64" else (*tuned, *REJECTED)
                for queries, warps in candidates(program, blocks):
                    yield Launch(program, dtype, capability, queries, warps)


def cpu_seconds() -> float:
    """CPU time of this process and of the programs that it has run, which is the compiler's on a busy machine, too."""
    return sum(os.times()[:4])


def _arguments(launch: Launch) -> dict[str, object]:
    from triton import language, next_power_of_2
    from triton.runtime.jit import MockTensor

    config = NetworkConfig()
    value = DTYPES[launch.dtype]
    other = sums = torch.float64 if value == torch.float64 else torch.float32
    dim = config.channels // config.heads
    sizes = (1.0,) * config.levels
    arguments: dict[str, object] = {
        "values": MockTensor(value),
        "locations": MockTensor(other),
        "weights": MockTensor(other),
        "heights": sizes,
        "widths": sizes,
        "tokens": 1,
        "queries": 1,
        "magnitude": 1,
        "HEADS": config.heads,
        "DIM": dim,
        "LANES": next_power_of_2(dim),
        "LEVELS": config.levels,
        "POINTS": launch.points,
        "SUM": language.float64 if sums == torch.float64 else language.float32,
    }
    if launch.program == FORWARD:
        return {**arguments, "output": MockTensor(value)}
    fixed = launch.program == FIXED_POINT
    return {
        **arguments,
        "gradient": MockTensor(value),
        "value_gradient": MockTensor(torch.int64 if fixed else sums),
        "location_gradient": MockTensor(other),
        "weight_gradient": MockTensor(other),
        "unit": MockTensor(torch.float64) if fixed else None,
    }
