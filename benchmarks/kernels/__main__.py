"""Resources of the GPU kernels of deformable attention for several GPUs, and how long they compile: without a GPU.

    python -m benchmarks.kernels
    python -m benchmarks.kernels --rounds 1

Registers, spilled bytes, shared memory and occupancy of every program, type and block, and of the classic CUDA kernels
where NVRTC is installed. Writes kernels.md and kernels.json.
"""

import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version

from tqdm import tqdm

from benchmarks.gpu import classic_cuda
from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.results import publish
from benchmarks.kernels import classic
from benchmarks.kernels.cold_start import CAPABILITY, VARIANTS, measure_cold_start
from benchmarks.kernels.occupancy import WARP
from benchmarks.kernels.offline import FORWARD, TARGETS, Launch, all_launches, compile_launch, require_compiler
from benchmarks.kernels.report import ClassicKernel, KernelsReport, kernels_page
from model.network.config import NetworkConfig
from panoptic.runtime.cli import run_command

COPIES = (1, 2, 4, 8, 16)
COLD_TYPES = ("float32", "bfloat16")


def measure(rounds: int) -> KernelsReport:
    """Compile everything."""
    from model.ops import triton_programs

    config, missing = NetworkConfig(), classic.unavailable()
    launches = list(all_launches(triton_programs.BLOCKS_AND_WARPS))
    first = triton_programs.BLOCKS_AND_WARPS[0]
    points = [Launch(FORWARD, "float32", CAPABILITY, *first, points=count) for count in COPIES]
    compiled = [compile_launch(launch, triton_programs) for launch in tqdm([*launches, *points], desc="compile")]
    return KernelsReport(
        {"triton": version("triton"), "Python": sys.version.split()[0]},
        f"{config.heads} heads of {config.channels // config.heads} channels, {config.levels} levels of"
        f" {config.points} points",
        compiled[: len(launches)],
        compiled[len(launches) :],
        [] if missing else list(_classic(config.channels // config.heads)),
        missing,
        [measure_cold_start(dtype, *variant, rounds) for dtype in COLD_TYPES for variant in VARIANTS],
    )


def _classic(channels: int) -> Iterator[ClassicKernel]:
    """Compile the classic kernels and pair them with the blocks of their launches."""
    blocks = {"forward": (classic_cuda.THREADS, 0), "backward": (channels, 3 * channels * 4)}
    for capability in TARGETS:
        found = classic.compile_classic(capability)
        for name, (threads, shared) in blocks.items():
            yield ClassicKernel(name, capability, found[name], -(-threads // WARP), shared)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = benchmark_parser("kernels", __doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of the times to compile (default: 3)")
    arguments = parser.parse_args(argv)

    def command() -> None:
        require_compiler()
        report = measure(arguments.rounds)
        publish("kernels", kernels_page(report), report, arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()
