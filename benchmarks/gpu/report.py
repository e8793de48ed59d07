"""The page of the GPU benchmark."""

from dataclasses import dataclass

from benchmarks.gpu.network import Throughput
from benchmarks.gpu.operator import KernelCost
from benchmarks.harness.results import Summary
from panoptic.markdown import markdown_page, markdown_table

CLASSIC = "classic, float32"
GIBIBYTE = 2**30


@dataclass(frozen=True)
class GpuMachine:
    """The GPU, the software, and the command that was given."""

    gpu: str
    memory_bytes: int
    copy_bandwidth: float
    versions: dict[str, str]
    command: str
    classic: str
    """Reason why the classic kernels are missing, or the difference of their result from ours."""


@dataclass(frozen=True)
class GpuReport:
    """All measurements on a GPU."""

    machine: GpuMachine
    operator: list[KernelCost]
    inference: list[Throughput]
    training: list[Throughput]
    profile: str


def gpu_page(report: GpuReport) -> str:
    """Render the operator, inference, training and the profile."""
    machine = report.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return markdown_page(
        "# On a GPU: speed and memory",
        f"Written by `{machine.command}` on one {machine.gpu} ({machine.memory_bytes / GIBIBYTE:.0f} GiB), {versions}."
        " Numbers are medians over interleaved rounds, with the lowest and the highest in brackets. A large copy on the"
        f" device moves {machine.copy_bandwidth / 1e12:.2f} TB/s, bytes read and written.",
        "## Deformable attention of an image of 800 x 1333",
        "The classic kernels (`benchmarks/gpu/classic_cuda`, our plain port of the scheme of one thread per number of"
        f" the output; {machine.classic}) are float32 only, as mmcv's. Bandwidth is the fewest bytes that have to move"
        " over the time; in brackets as a fraction of the copy's.",
        _operator(report),
        "## Inference at 800 x 1333, one image at a time",
        "From pixels in memory to panoptic maps in memory: resizing, network and merging, random weights.",
        _inference(report.inference),
        "## Training at 800 x 1333",
        "Whole optimizer steps; the batch is on the device already. 7 things and 4 stuff classes per image.",
        _training(report.training),
        "## Where the time of inference goes",
        f"```\n{report.profile.rstrip()}\n```",
    )


def _operator(report: GpuReport) -> str:
    classic = {(cost.shape, cost.passes): cost for cost in report.operator if cost.implementation == CLASSIC}
    rows = []
    for cost in report.operator:
        base = classic.get((cost.shape, cost.passes))
        ratio = f"{Summary.of_ratios(base.milliseconds, cost.milliseconds):.2f}" if base else "-"
        fraction = cost.bandwidth / report.machine.copy_bandwidth
        times, bandwidth = f"{Summary.of(cost.milliseconds):.3f}", f"{cost.bandwidth / 1e9:.0f} ({fraction:.0%})"
        rows.append([cost.shape, cost.passes, cost.implementation, times, ratio, bandwidth])
    return markdown_table(["", "", "", "ms", "classic / this", "GB/s"], rows, labels=3)


def _inference(throughputs: list[Throughput]) -> str:
    rows = [[one.precision, "compiled" if one.compiled else "eager", *_cells(one, 1)] for one in throughputs]
    return markdown_table(["precision", "", "images per second", "peak memory, GiB"], rows, labels=2)


def _training(throughputs: list[Throughput]) -> str:
    rows = [[one.precision, str(one.batch), *_cells(one, 2)] for one in throughputs]
    return markdown_table(["precision", "batch", "images per second", "peak memory, GiB"], rows)


def _cells(one: Throughput, digits: int) -> tuple[str, str]:
    return f"{Summary.of(one.images_per_second):.{digits}f}", f"{one.peak_bytes / GIBIBYTE:.2f}"
