"""Speed and memory on an NVIDIA GPU: the operator beside the classic kernels, inference, training; a longer training.

    python -m benchmarks.gpu
    python -m benchmarks.gpu --rounds 3 --images 10 --no-long-training

Writes gpu.md and gpu.json, then trains as `python -m benchmarks.long_training` does. On a machine without such a GPU it
says so and ends with status 2.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks import long_training
from benchmarks.gpu import classic_cuda
from benchmarks.gpu.network import Speed, Workload, inference, profile_table, training
from benchmarks.gpu.operator import SHAPES, OperatorTime, check_classic, copy_bandwidth, measure_operator
from benchmarks.harness.report import spread
from model.network.config import NetworkConfig
from model.ops import triton_kernels
from panoptic.io.files import write_atomically
from panoptic.runtime.cli import run_command

CLASSIC = "classic, float32"
PRECISIONS = ("float32", "bfloat16")
TRAINED_BATCHES = (1, 2, 8)


@dataclass(frozen=True)
class Machine:
    """What all numbers were measured on, and how."""

    gpu: str
    memory_bytes: int
    copy_bandwidth: float
    versions: dict[str, str]
    command: str
    classic: str
    """Why the classic kernels are missing, or how far their result is from ours."""


@dataclass(frozen=True)
class Results:
    """Everything on the page."""

    machine: Machine
    operator: list[OperatorTime]
    inference: list[Speed]
    training: list[Speed]
    profile: str


def require_gpu() -> None:
    """Do nothing on a machine with a GPU that the kernels run on.

    Raises:
        ValueError: it has none; says why.
    """
    if not torch.cuda.is_available():
        raise ValueError("there is no CUDA device here: nothing was measured and nothing written")
    if reason := triton_kernels.unavailable():
        raise ValueError(f"the Triton kernels cannot run: {reason}; nothing was measured and nothing written")


def measure(config: NetworkConfig, rounds: int, repeats: int, images: int, command: str) -> Results:
    """All measurements."""
    missing = classic_cuda.unavailable()
    machine = Machine(
        gpu=torch.cuda.get_device_name(),
        memory_bytes=torch.cuda.get_device_properties(0).total_memory,
        copy_bandwidth=copy_bandwidth(repeats),
        versions={"torch": torch.__version__, "CUDA": str(torch.version.cuda), "Python": sys.version.split()[0]},
        command=command,
        classic=missing or f"largest difference of its result from ours {check_classic():.1e}",
    )
    operator = [
        time
        for shape in SHAPES
        for backward in (False, True)
        for time in measure_operator(shape, backward, rounds, repeats)
    ]
    work = Workload(config, (800, 1333), images, rounds, torch.device("cuda"))
    return Results(
        machine,
        operator,
        [inference(work, precision, compiled) for precision in PRECISIONS for compiled in (False, True)],
        [training(work, precision, batch) for precision in PRECISIONS for batch in TRAINED_BATCHES],
        profile_table(work, "bfloat16"),
    )


def markdown(results: Results) -> str:
    """The page."""
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    introduction = (
        f"Written by `{machine.command}` on one {machine.gpu} ({machine.memory_bytes / 2**30:.0f} GiB), {versions}."
        " Numbers are medians over rounds, lowest and highest in brackets; what is compared takes turns in one process."
        f" A large copy on the device moves {machine.copy_bandwidth / 1e12:.2f} TB/s, bytes read and written."
    )
    lines = ["# On a GPU: speed and memory", "", introduction, ""]
    lines += [*_operator(results), *_inference(results), *_training(results)]
    return "\n".join([*lines, "## Where the time of inference goes", "", "```", results.profile.rstrip(), "```", ""])


def _operator(results: Results) -> Iterator[str]:
    yield from ("## Deformable attention of an image of 800 x 1333", "")
    yield (
        "The classic kernels (`benchmarks/classic_cuda`, our plain port of the scheme of one thread for each number of"
        f" the output; {results.machine.classic}) are float32 only, as mmcv's. Bandwidth: the fewest bytes that have to"
        " move, over the time; in brackets as a share of the copy's."
    )
    yield from ("", "| | | | ms | classic / this | GB/s |", "|---|---|---|---:|---:|---:|")
    for one in results.operator:
        peers = [peer for peer in results.operator if (peer.shape, peer.passes) == (one.shape, one.passes)]
        classic = next((peer for peer in peers if peer.implementation == CLASSIC), None)
        ratios = [a / b for a, b in zip(classic.milliseconds, one.milliseconds, strict=True)] if classic else []
        share = one.bandwidth / results.machine.copy_bandwidth
        yield (
            f"| {one.shape} | {one.passes} | {one.implementation} | {spread(one.milliseconds, 3)} |"
            f" {spread(ratios, 2) if ratios else '-'} | {one.bandwidth / 1e9:.0f} ({share:.0%}) |"
        )
    yield ""


def _inference(results: Results) -> Iterator[str]:
    yield from ("## Inference at 800 x 1333, one image at a time", "")
    yield "From pixels in memory to panoptic maps in memory: resizing, network and merging, random weights."
    yield from ("", "| precision | | images a second | peak memory, GiB |", "|---|---|---:|---:|")
    for one in results.inference:
        kind = "compiled" if one.compiled else "eager"
        yield f"| {one.precision} | {kind} | {spread(one.images_per_second, 1)} | {one.peak_bytes / 2**30:.2f} |"
    yield ""


def _training(results: Results) -> Iterator[str]:
    yield from ("## Training at 800 x 1333", "")
    yield "Whole optimizer steps; the batch lies on the device. 7 things and 4 stuff classes in an image."
    yield from ("", "| precision | batch | images a second | peak memory, GiB |", "|---|---:|---:|---:|")
    for one in results.training:
        speed = spread(one.images_per_second, 2)
        yield f"| {one.precision} | {one.batch} | {speed} | {one.peak_bytes / 2**30:.2f} |"
    yield ""


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="of each measurement (default: 5)")
    parser.add_argument("--repeats", type=int, default=50, help="of the operator in a round (default: 50)")
    parser.add_argument("--images", type=int, default=20, help="of the network in a round (default: 20)")
    parser.add_argument("--no-long-training", action="store_true", help="stop before the longer training")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for the pages")
    arguments = parser.parse_args(argv)

    def command() -> None:
        require_gpu()
        given = shlex.join(["python", "-m", "benchmarks.gpu", *(sys.argv[1:] if argv is None else argv)])
        results = measure(NetworkConfig(), arguments.rounds, arguments.repeats, arguments.images, given)
        page = markdown(results)
        write_atomically(arguments.out / "gpu.json", (json.dumps(asdict(results), indent=1) + "\n").encode())
        write_atomically(arguments.out / "gpu.md", page.encode())
        print(page)
        if not arguments.no_long_training:
            long_training.write(long_training.RECIPE, long_training.WORK, long_training.IMAGES, arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()
