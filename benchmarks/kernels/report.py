"""The page of `benchmarks.kernels`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.harness.results import Summary
from benchmarks.kernels.cold_start import ColdStart
from benchmarks.kernels.cubin import KernelUsage
from benchmarks.kernels.occupancy import MOST_WARPS, occupancy
from benchmarks.kernels.offline import REJECTED, CompiledLaunch
from panoptic.markdown import markdown_page, markdown_table

_LEVELS = {"unrolled": "levels unrolled", "loop": "levels in a loop"}
_BLOCKS = {"all": "all", "tuned": "those that are tried"}


@dataclass(frozen=True)
class ClassicKernel:
    """A classic kernel for a compute capability, with the warps of its block and the shared memory it asks for."""

    name: str
    capability: int
    usage: KernelUsage
    warps: int
    shared: int


@dataclass(frozen=True)
class KernelsReport:
    """All launches, the classic kernels, or why they are missing, and the times to compile."""

    versions: dict[str, str]
    sizes: str
    launches: list[CompiledLaunch]
    points: list[CompiledLaunch]
    classic: list[ClassicKernel]
    missing: str | None
    cold_starts: list[ColdStart]


def kernels_page(report: KernelsReport) -> str:
    """Render a table for each target, and those of the time to compile."""
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    capabilities = dict.fromkeys(one.launch.capability for one in report.launches)
    return markdown_page(
        "# GPU kernels of deformable attention, without a GPU",
        f"Written by `python -m benchmarks.kernels` with {versions}, on a machine without a GPU: Triton compiles the"
        " programs of `model/ops/triton_programs.py` for a target that is not there, and its `cuobjdump` reads the"
        f" machine code. {report.sizes}; values of the type shown, locations and weights float32 (float64 beside"
        " float64). Spilled: bytes of the stack. Shared: bytes of a block. Warps per multiprocessor are at most"
        f" {MOST_WARPS}; they follow from the limits of the CUDA C++ Programming Guide by the formula of"
        " `cuda_occupancy.h`, and say how many loads may wait at once, not how fast a kernel is: that takes a GPU"
        " (`python -m benchmarks.gpu`). Of the blocks of queries and warps the autotuner tries those that are marked;"
        " each of the others does as much a warp as one of these, and no more of its warps are held.",
        *(block for capability in capabilities for block in _target(report, capability)),
        "## Time to compile",
        "Seconds of CPU time of one core, with those of the assembler, for everything that the first launch of a type"
        " compiles. At first levels were unrolled, and all blocks tried. Inference needs the forward program, a"
        " training step both. Medians of new processes, with the lowest and the highest in brackets.",
        _cold_starts(report.cold_starts),
        "The forward program has one copy of a sample for each point, and with unrolled levels one for each level and"
        " point. Triton's pass that coalesces memory accesses searches from each access through all others. By number"
        " of points, with levels in a loop:",
        _points(report.points),
    )


def _target(report: KernelsReport, capability: int) -> tuple[str, str]:
    header = ["program", "type", "queries x warps", "tried", "registers", "spilled", "shared", "instructions"]
    header += ["warps per multiprocessor", "limited by"]
    rows = [_launch(one) for one in report.launches if one.launch.capability == capability]
    rows += [_classic(one) for one in report.classic if one.capability == capability]
    note = f"The classic CUDA kernels were not compiled: {report.missing}." if report.missing else ""
    return f"## sm_{capability}", markdown_page(markdown_table(header, rows, labels=4), note).rstrip()


def _launch(one: CompiledLaunch) -> list[str]:
    launch = one.launch
    tried = "" if (launch.queries, launch.warps) in REJECTED else "yes"
    labels = [launch.program, launch.dtype, f"{launch.queries} x {launch.warps}", tried]
    usage = KernelUsage(one.registers, one.spilled, one.instructions)
    return [*labels, *_numbers(launch.capability, usage, launch.warps, one.shared)]


def _classic(one: ClassicKernel) -> list[str]:
    labels = [f"classic {one.name}", "float32", f"- x {one.warps}", ""]
    return [*labels, *_numbers(one.capability, one.usage, one.warps, one.shared)]


def _numbers(capability: int, usage: KernelUsage, warps: int, shared: int) -> list[str]:
    held = occupancy(capability, usage.registers, warps, shared)
    numbers = (usage.registers, usage.spilled, shared, usage.instructions, held.warps)
    return [*map(str, numbers), held.limit]


def _cold_starts(starts: Sequence[ColdStart]) -> str:
    header = ["type", "programs", "blocks", "inference, s", "training step, s"]
    rows = [
        [one.dtype, _LEVELS[one.levels], _BLOCKS[one.blocks], *map(_seconds, (one.forward, one.both))] for one in starts
    ]
    return markdown_table(header, rows, labels=3)


def _points(compiled: Iterable[CompiledLaunch]) -> str:
    header = ["copies of a sample", "seconds", "registers", "instructions"]
    rows = [
        [str(one.launch.points), f"{one.seconds:.2f}", str(one.registers), str(one.instructions)] for one in compiled
    ]
    return markdown_table(header, rows)


def _seconds(values: Sequence[float]) -> str:
    return f"{Summary.of(values):.1f}"
