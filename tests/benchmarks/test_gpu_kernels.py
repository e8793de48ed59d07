"""The GPU kernels compile for GPUs that are not there, within bounds; occupancy is that of NVIDIA's own formula.

Triton decides between interpreter and compiler when it is imported, so it compiles in a process of its own.
"""

import multiprocessing
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import pytest

from benchmarks.harness.results import read_report
from benchmarks.kernels import __main__ as kernels
from benchmarks.kernels import classic
from benchmarks.kernels.cold_start import ColdStart, unrolled_programs
from benchmarks.kernels.cubin import KernelUsage
from benchmarks.kernels.occupancy import SHARED, Occupancy, occupancy
from benchmarks.kernels.offline import (
    FIXED_POINT,
    FORWARD,
    PROGRAMS,
    REJECTED,
    TARGETS,
    CompiledLaunch,
    Launch,
    compile_launch,
    require_compiler,
)
from benchmarks.kernels.report import ClassicKernel, KernelsReport, kernels_page
from tests.markdown import unpadded

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
FIRST, OTHERS = (16, 4), ((4, 1), (16, 2))
REGISTERS = {FIRST: 72, **dict.fromkeys(OTHERS, 112)}
INSTRUCTIONS = {FIRST: 700, **dict.fromkeys(OTHERS, 900)}  # 1 500 and more with unrolled levels
WARPS = {FIRST: 28, **dict.fromkeys(OTHERS, 16)}


def compiled(launch: Launch) -> CompiledLaunch:
    """Compile in the process that this is sent to."""
    from model.ops import triton_programs

    require_compiler()
    return compile_launch(launch, triton_programs)


def compiled_unrolled(launch: Launch) -> CompiledLaunch:
    with unrolled_programs() as programs:
        return compile_launch(launch, programs)


@pytest.fixture(scope="module")
def compiler() -> Iterator[ProcessPoolExecutor]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "0")
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            pool.submit(os.getpid).result()
            yield pool


@pytest.fixture(scope="module")
def published() -> KernelsReport:
    return read_report("kernels", KernelsReport)


def within_bounds(found: CompiledLaunch) -> None:
    launch = found.launch
    block = (launch.queries, launch.warps)
    assert found.spilled == 0, found
    assert found.registers <= REGISTERS[block], found
    assert found.instructions <= INSTRUCTIONS[block], found
    assert occupancy(launch.capability, found.registers, launch.warps, found.shared).warps >= WARPS[block], found


@needs_triton
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    ("capability", "dtype"), [*((capability, "float32") for capability in TARGETS), (90, "bfloat16")]
)
def test_every_program_compiles_within_bounds(
    capability: int, dtype: str, program: str, compiler: ProcessPoolExecutor
) -> None:
    within_bounds(compiler.submit(compiled, Launch(program, dtype, capability, *FIRST)).result())


@needs_triton
@pytest.mark.parametrize("block", OTHERS)
@pytest.mark.parametrize("program", [program for program in PROGRAMS if program != FIXED_POINT])
def test_other_blocks_compile_within_bounds(
    program: str, block: tuple[int, int], compiler: ProcessPoolExecutor
) -> None:
    within_bounds(compiler.submit(compiled, Launch(program, "bfloat16", 90, *block)).result())


@needs_triton
@pytest.mark.parametrize("program", PROGRAMS)
def test_float64_compiles_without_spilling(program: str, compiler: ProcessPoolExecutor) -> None:
    assert compiler.submit(compiled, Launch(program, "float64", 90, *FIRST)).result().spilled == 0


@needs_triton
def test_unrolled_levels_are_the_same_program_with_more_code(compiler: ProcessPoolExecutor) -> None:
    launch = Launch(FORWARD, "float32", 90, *FIRST, points=2)
    looped, unrolled = (compiler.submit(how, launch).result() for how in (compiled, compiled_unrolled))
    assert unrolled.instructions > 1.5 * looped.instructions


@needs_triton
def test_the_bounds_are_of_the_blocks_that_are_tried() -> None:
    from model.ops.triton_programs import BLOCKS_AND_WARPS

    assert (FIRST, *OTHERS) == BLOCKS_AND_WARPS


@needs_triton
def test_the_interpreter_compiles_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from triton import knobs

    monkeypatch.setattr(knobs.runtime, "interpret", True)
    with pytest.raises(SystemExit) as end:
        kernels.main(["--out", str(tmp_path / "out")])
    assert end.value.code == 2
    assert "TRITON_INTERPRET is set" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_published_launches_are_within_bounds(published: KernelsReport) -> None:
    tried = [one for one in published.launches if (one.launch.queries, one.launch.warps) in REGISTERS]
    assert {(one.launch.capability, one.launch.program, one.launch.dtype) for one in tried} >= set(
        product(TARGETS, PROGRAMS, ("float32", "bfloat16", "float64"))
    )
    for one in tried:
        if one.launch.dtype == "float64":
            assert one.spilled == 0
        else:
            within_bounds(one)


def test_no_rejected_block_holds_more_warps(published: KernelsReport) -> None:
    def warps(one: CompiledLaunch) -> int:
        return occupancy(one.launch.capability, one.registers, one.launch.warps, one.shared).warps

    rejected = [one for one in published.launches if (one.launch.queries, one.launch.warps) in REJECTED]
    assert rejected
    for one in rejected:
        alike = [
            other
            for other in published.launches
            if (other.launch.queries, other.launch.warps) in REGISTERS
            and replace(other.launch, queries=0, warps=0) == replace(one.launch, queries=0, warps=0)
            and other.launch.queries * one.launch.warps == one.launch.queries * other.launch.warps
        ]
        assert max(map(warps, alike)) >= warps(one)


@needs_triton
def test_occupancy_is_that_of_nvidias_header(tmp_path: Path) -> None:
    compiler, found = shutil.which(os.environ.get("CXX", "c++")), find_spec("triton")
    if compiler is None:
        pytest.skip("there is no C++ compiler (c++, or CXX)")
    assert found
    assert found.origin
    header = Path(found.origin).parent / "backends" / "nvidia" / "include"
    source = Path(__file__).with_name("occupancy.cpp")
    subprocess.run([compiler, "-w", "-isystem", header, source, "-o", tmp_path / "occupancy"], check=True)
    cases = list(product(SHARED, (16, 40, 41, 64, 97, 160, 255), (1, 2, 4, 7, 8), (0, 1, 384, 2048, 9000, 48000)))
    lines = "".join(f"{case[0]} {SHARED[case[0]]} {' '.join(map(str, case[1:]))}\n" for case in cases)
    printed = subprocess.run([tmp_path / "occupancy"], input=lines, stdout=subprocess.PIPE, check=True, text=True)
    expected = [int(line) * case[2] for line, case in zip(printed.stdout.split(), cases, strict=True)]
    assert [occupancy(*case).warps for case in cases] == expected


def test_occupancy_says_what_limits_it() -> None:
    assert occupancy(90, 48, 4, 0) == Occupancy(40, "registers")
    assert occupancy(90, 32, 1, 0) == Occupancy(32, "blocks")
    assert occupancy(80, 16, 4, 40_000) == Occupancy(16, "shared memory")
    with pytest.raises(ValueError, match="sm_75"):
        occupancy(75, 48, 4, 0)


@pytest.mark.parametrize("capability", TARGETS)
def test_the_classic_kernels_compile(capability: int) -> None:
    if reason := classic.unavailable():
        pytest.skip(reason)
    found = classic.compile_classic(capability)
    assert found.keys() == {"forward", "backward"}
    assert all(usage.spilled == 0 and usage.registers <= 64 for usage in found.values())


def test_nvrtc_says_what_it_does_not_compile() -> None:
    if reason := classic.unavailable():
        pytest.skip(reason)
    with pytest.raises(ValueError, match="undefined_name"):
        classic.compile_classic(90, b'extern "C" __global__ void broken() { undefined_name(); }')


def test_the_page_shows_usage_occupancy_and_times() -> None:
    launch = CompiledLaunch(Launch(FORWARD, "float32", 90, *FIRST), 48, 0, 496, 0, 0.4)
    rejected = CompiledLaunch(Launch(FORWARD, "float32", 90, *REJECTED[0]), 48, 8, 496, 32, 0.4)
    old = ClassicKernel("backward", 90, KernelUsage(34, 0, 300), 1, 384)
    cold = ColdStart("float32", "loop", "tuned", [1.0, 2.0, 3.0], [0.5, 0.5, 0.5])
    report = KernelsReport({"triton": "1"}, "8 heads", [launch, rejected], [launch], [old], None, [cold])
    page = unpadded(kernels_page(report))
    assert "| forward | float32 | 16 x 4 | yes | 48 | 0 | 0 | 496 | 40 | registers |" in page
    assert "| forward | float32 | 8 x 2 | | 48 | 8 | 32 | 496 | 40 | registers |" in page
    assert "| classic backward | float32 | - x 1 | | 34 | 0 | 384 | 300 | 32 | blocks |" in page
    assert "| float32 | levels in a loop | those that are tried | 2.0 (1.0 to 3.0) | 2.5 (1.5 to 3.5) |" in page
    without = kernels_page(replace(report, classic=[], missing="NVRTC is missing"))
    assert "The classic CUDA kernels were not compiled: NVRTC is missing." in without
    assert asdict(report)["launches"][0]["registers"] == 48
