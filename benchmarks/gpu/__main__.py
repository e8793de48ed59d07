"""Speed and memory on an NVIDIA GPU: the operator beside classic kernels, inference, training; then a longer training.

    python -m benchmarks.gpu
    python -m benchmarks.gpu --rounds 3 --images 10 --no-long-training

Writes gpu.md and gpu.json, then trains as `python -m benchmarks.long_training` does. Without such a GPU it says so and
exits with status 2.
"""

import shlex
import sys
from collections.abc import Sequence

import torch

from benchmarks.gpu import classic_cuda
from benchmarks.gpu.network import NetworkWorkload, inference, profile_table, training
from benchmarks.gpu.operator import CASES, check_classic, copy_bandwidth, measure_operator
from benchmarks.gpu.report import GpuMachine, GpuReport, gpu_page
from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.results import publish
from benchmarks.long_training import __main__ as long_training
from model.network.config import NetworkConfig
from model.ops import triton_kernels
from panoptic.runtime.cli import run_command

PRECISIONS = ("float32", "bfloat16")
TRAINED_BATCHES = (1, 2, 8)


def require_gpu() -> None:
    """Refuse a machine without a GPU that the kernels run on.

    Raises:
        ValueError: says why.
    """
    if not torch.cuda.is_available():
        raise ValueError("there is no CUDA device here: nothing was measured and nothing written")
    if reason := triton_kernels.unavailable():
        raise ValueError(f"the Triton kernels cannot run: {reason}; nothing was measured and nothing written")


def measure(config: NetworkConfig, rounds: int, repeats: int, images: int, command: str) -> GpuReport:
    """Measure everything."""
    missing = classic_cuda.unavailable()
    machine = GpuMachine(
        gpu=torch.cuda.get_device_name(),
        memory_bytes=torch.cuda.get_device_properties(0).total_memory,
        copy_bandwidth=copy_bandwidth(repeats),
        versions={"torch": torch.__version__, "CUDA": str(torch.version.cuda), "Python": sys.version.split()[0]},
        command=command,
        classic=missing or f"largest difference of its result from ours {check_classic():.1e}",
    )
    operator = [
        cost
        for case in CASES
        for backward in (False, True)
        for cost in measure_operator(case, backward, rounds, repeats)
    ]
    work = NetworkWorkload(config, (800, 1333), images, rounds, torch.device("cuda"))
    return GpuReport(
        machine,
        operator,
        [inference(work, precision, compiled) for precision in PRECISIONS for compiled in (False, True)],
        [training(work, precision, batch) for precision in PRECISIONS for batch in TRAINED_BATCHES],
        profile_table(work, "bfloat16"),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = benchmark_parser("gpu", __doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each measurement (default: 5)")
    parser.add_argument("--repeats", type=int, default=50, help="of the operator per round (default: 50)")
    parser.add_argument("--images", type=int, default=20, help="for the network per round (default: 20)")
    parser.add_argument("--no-long-training", action="store_true", help="stop before the longer training")
    arguments = parser.parse_args(argv)

    def command() -> None:
        require_gpu()
        given = shlex.join(["python", "-m", "benchmarks.gpu", *(sys.argv[1:] if argv is None else argv)])
        report = measure(NetworkConfig(), arguments.rounds, arguments.repeats, arguments.images, given)
        publish("gpu", gpu_page(report), report, arguments.out)
        if not arguments.no_long_training:
            long_training.main(["--out", str(arguments.out)])

    run_command(command)


if __name__ == "__main__":
    main()
