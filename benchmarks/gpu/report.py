"""The page of the GPU benchmark, and the table of bounds that needs no GPU."""

from collections.abc import Sequence

from benchmarks.gpu.bounds import BOUND_HEADER, DATA_SHEET, Bound, network_bound, operator_bound
from benchmarks.gpu.network import Throughput
from benchmarks.gpu.operator import CASES, PASSES, KernelCost, RivalCheck
from benchmarks.gpu.parts import SIZE
from benchmarks.gpu.rivals import CLASSIC
from benchmarks.gpu.running import GpuReport, PartResult
from benchmarks.harness.results import Summary
from model.network.config import NetworkConfig
from panoptic.markdown import markdown_page, markdown_table

GIBIBYTE = 2**30
PRECISIONS = ("float32", "bfloat16")
TRAINED_BATCHES = (1, 2, 8)
BOUNDS = (
    "A bound is the larger of bytes over 4.8 TB/s and FLOPs over 67 TFLOP/s (float32 outside tensor cores, and all"
    " deformable attention) or 989 TFLOP/s (bfloat16, dense), the figures of"
    f" [NVIDIA's data sheet]({DATA_SHEET}) of the H200 SXM, whose 1979 TFLOP/s are with sparsity. Bytes of deformable"
    " attention: every operand read once and every result written once, in each pass. Bytes of a network: operands and"
    " results of every convolution, matrix product and sampling, as if all between were fused into them; a training"
    " step adds AdamW's, without matching and losses. In float32, torch lets convolutions use tensor cores (TF32),"
    " which may pass that bound."
)


def gpu_page(report: GpuReport) -> str:
    """Render what was measured, and name what was not."""
    found = [part.findings for part in report.parts if part.findings]
    copied = next((findings.copy_bandwidth for findings in found if findings.copy_bandwidth), None)
    conditions = report.conditions
    versions = ", ".join(f"{name} {version}" for name, version in conditions.versions.items())
    copy = f" A large copy on the device moves {copied / 1e12:.2f} TB/s, bytes read and written." if copied else ""
    return markdown_page(
        "# On a GPU: speed and memory",
        f"Written by `{report.command}` on one {conditions.gpu} ({conditions.memory_bytes / GIBIBYTE:.0f} GiB),"
        f" {versions}. Numbers are medians over {conditions.rounds} interleaved rounds, with the lowest and the highest"
        f" in brackets.{copy}",
        BOUNDS,
        *_missing(report.parts),
        "## Deformable attention of an image of 800 x 1333",
        "The classic kernels (`benchmarks/gpu/classic_cuda`, our plain port of the scheme of one thread per number of"
        " the output) and mmcv's are called without torch's autograd, all others through it. Bandwidth is the bytes of"
        " the bound over the time; in brackets as a fraction of the copy's.",
        _operator([cost for findings in found for cost in findings.operator], copied),
        *_checks([check for findings in found for check in findings.checks]),
        "## Inference at 800 x 1333, one image at a time",
        "From pixels in memory to panoptic maps in memory: resizing, network and merging, random weights. The bound is"
        " the network's.",
        _throughput([one for findings in found for one in findings.inference], 1),
        "## Training at 800 x 1333",
        "Whole optimizer steps; the batch is on the device already. 7 things and 4 stuff classes per image.",
        _throughput([one for findings in found for one in findings.training], 2),
        *(
            block
            for findings in found
            if findings.profile
            for block in ("## Where the time of inference goes", f"```\n{findings.profile.rstrip()}\n```")
        ),
    )


def bounds_page(config: NetworkConfig, size: tuple[int, int] = SIZE, batches: Sequence[int] = TRAINED_BATCHES) -> str:
    """Render the bounds of everything that the benchmark measures."""
    operator = [
        [case.title, passes, precision, *operator_bound(case, precision, backward).cells()]
        for case in CASES
        for passes, backward in PASSES.items()
        for precision in PRECISIONS
    ]
    network = [
        [f"network, {size[0]} x {size[1]}, batch {batch}", passes, precision, *bound.cells()]
        for passes, train, sizes in (("inference", False, (1,)), ("training step", True, batches))
        for batch in sizes
        for precision in PRECISIONS
        for bound in (network_bound(config, size, batch, precision, train),)
    ]
    header = ["", "", "precision", *BOUND_HEADER]
    return markdown_page("# Bounds on an H200", BOUNDS, markdown_table(header, operator + network, labels=3))


def _missing(parts: Sequence[PartResult]) -> tuple[str, ...]:
    rows = [[part.name, part.reason] for part in parts if not part.findings]
    return ("## Not measured", markdown_table(["part", "reason"], rows, labels=2)) if rows else ()


def _operator(costs: Sequence[KernelCost], copied: float | None) -> str:
    classic = {(cost.shape, cost.passes): cost for cost in costs if cost.implementation == CLASSIC}
    rows = []
    for cost in costs:
        base = classic.get((cost.shape, cost.passes))
        ratio = f"{Summary.of_ratios(base.milliseconds, cost.milliseconds):.2f}" if base else "-"
        fraction = f" ({cost.bandwidth / copied:.0%})" if copied else ""
        times, bandwidth = f"{Summary.of(cost.milliseconds):.3f}", f"{cost.bandwidth / 1e9:.0f}{fraction}"
        labels = [cost.shape, cost.passes, cost.implementation]
        rows.append([*labels, times, ratio, bandwidth, *_bounded(cost.bound, cost.median)])
    return markdown_table(["", "", "", "ms", "classic / this", "GB/s", *BOUND_HEADER, "reached"], rows, labels=3)


def _checks(checks: Sequence[RivalCheck]) -> tuple[str, ...]:
    differences = ["-" if check.difference is None else f"{check.difference:.1e}" for check in checks]
    rows = [
        [check.shape, check.implementation, difference, check.reason]
        for check, difference in zip(checks, differences, strict=True)
    ]
    text = (
        "Before it is timed, the output of each and its gradient of the values are compared with ours in float32: the"
        " largest difference, relative to the largest value."
    )
    header = ["", "", "difference", "not timed because"]
    return (text, markdown_table(header, rows, labels=2)) if rows else ()


def _throughput(throughputs: Sequence[Throughput], digits: int) -> str:
    rows = [
        [
            one.precision,
            "compiled" if one.compiled else "eager",
            str(one.batch),
            f"{Summary.of(one.images_per_second):.{digits}f}",
            f"{one.peak_bytes / GIBIBYTE:.2f}",
            *_bounded(one.bound, one.milliseconds),
        ]
        for one in throughputs
    ]
    header = ["precision", "", "batch", "images per second", "peak memory, GiB", *BOUND_HEADER, "reached"]
    return markdown_table(header, rows, labels=2)


def _bounded(bound: Bound, milliseconds: float) -> list[str]:
    return [*bound.cells(), f"{bound.milliseconds / milliseconds:.0%}"]
