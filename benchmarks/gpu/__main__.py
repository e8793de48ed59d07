"""Speed and memory on an NVIDIA GPU: the operator beside those of others, inference and training, in 8 minutes.

    python -m benchmarks.gpu
    python -m benchmarks.gpu --seconds 300 --without deformops
    python -m benchmarks.gpu --bounds

Writes gpu.md and gpu.json after each part; repeated under the same conditions, it measures what is not finished. A part
that fails, or for which no time is left, is named in the page. Without such a GPU it says so and exits with status 2;
`--bounds` needs none.
"""

import shlex
import sys
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch

from benchmarks.gpu.parts import PARTS, GpuSettings
from benchmarks.gpu.report import bounds_page, gpu_page
from benchmarks.gpu.running import Conditions, GpuReport, run_apart, run_parts
from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.results import publish, read_report
from benchmarks.long_training import __main__ as long_training
from model.network.config import NetworkConfig
from model.ops import triton_kernels
from panoptic.io.errors import DatasetError
from panoptic.runtime.cli import run_command
from panoptic.runtime.fingerprint import code_digests, fingerprint

SECONDS = 480
PACKAGES = ("triton", "transformers", "deformops", "kernels", "mmcv")


def require_gpu() -> None:
    """Refuse a machine without a GPU that the kernels run on.

    Raises:
        ValueError: says why.
    """
    if not torch.cuda.is_available():
        raise ValueError("there is no CUDA device here: nothing was measured and nothing written")
    if reason := triton_kernels.unavailable():
        raise ValueError(f"the Triton kernels cannot run: {reason}; nothing was measured and nothing written")


def conditions(settings: GpuSettings) -> Conditions:
    """Describe the GPU, the software and how often everything is measured."""
    versions = {
        "torch": torch.__version__,
        "CUDA": str(torch.version.cuda),
        "Python": sys.version.split()[0],
        **{package: version(package) for package in PACKAGES if find_spec(package)},
        "code": fingerprint(code_digests()),
    }
    gpu, memory = torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory
    return Conditions(gpu, memory, versions, settings.rounds, settings.repeats, settings.images)


def resume(report: GpuReport, out: Path) -> GpuReport:
    """Take over what is finished in the folder; numbers of another version count as none."""
    try:
        return report.resumed(read_report("gpu", GpuReport, out)) if (out / "gpu.json").exists() else report
    except DatasetError as error:
        print(f"{error}; everything is measured anew", file=sys.stderr)
        return report


def save(out: Path, report: GpuReport) -> None:
    """Write page and numbers."""
    publish("gpu", gpu_page(report), report, out)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = benchmark_parser("gpu", __doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all parts (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of each measurement (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=30, help="of the operator per round (default: %(default)s)")
    parser.add_argument("--images", type=int, default=10, help="for the network per round (default: %(default)s)")
    parser.add_argument("--without", nargs="+", default=[], help="leave out implementations that begin with this")
    parser.add_argument("--bounds", action="store_true", help="print the bounds on an H200 alone, on any machine")
    parser.add_argument("--long-training", action="store_true", help="train afterwards, in hours")
    arguments = parser.parse_args(argv)

    def command() -> None:
        if arguments.bounds:
            print(bounds_page(NetworkConfig()))
            return
        require_gpu()
        given = shlex.join(["python", "-m", "benchmarks.gpu", *(sys.argv[1:] if argv is None else argv)])
        settings = GpuSettings(
            NetworkConfig(),
            rounds=arguments.rounds,
            repeats=arguments.repeats,
            images=arguments.images,
            without=tuple(arguments.without),
        )
        report = resume(GpuReport(conditions(settings), given), arguments.out)
        run = partial(run_apart, settings=settings)
        run_parts(report, PARTS, arguments.seconds, run, partial(save, arguments.out))
        if arguments.long_training:
            long_training.main(["--out", str(arguments.out)])

    run_command(command)


if __name__ == "__main__":
    main()
