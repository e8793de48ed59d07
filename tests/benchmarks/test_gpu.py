"""The GPU benchmark: it refuses to run without a GPU, checks rivals, resumes, and its page shows its measurements."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import classic_cuda
from benchmarks.gpu.bounds import Bound, network_bound, operator_bound
from benchmarks.gpu.network import NetworkWorkload, Throughput, inference, profile_table, training
from benchmarks.gpu.operator import CHANNELS, HEADS, POINTS, KernelCost, RivalCheck, measure_operator, operands
from benchmarks.gpu.parts import PARTS, Findings, GpuSettings, Part
from benchmarks.gpu.report import bounds_page, gpu_page
from benchmarks.gpu.rivals import CLASSIC, OURS
from benchmarks.gpu.running import Conditions, GpuReport, PartResult, run_apart, run_parts
from benchmarks.harness.results import publish, read_report
from benchmarks.operator.cases import COCO_LEVELS, Case
from model.complexity.counts import count_macs, meta_network
from model.inference import predictor
from model.network.config import NetworkConfig
from model.ops.ms_deform_attn import level_starts
from model.published.models import COCO_STUFF, COCO_THINGS
from tests.markdown import unpadded

needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
CPU = torch.device("cpu")
TINY = NetworkConfig(
    channels=32, heads=2, points=1, encoder_layers=1, location_layers=1, thing_mask_layers=1, stuff_mask_layers=1,
    feedforward=32, mask_feedforward=32, queries=10, selected_queries=5,
)  # fmt: skip


@needs_no_gpu
def test_without_a_gpu_it_says_so_and_writes_no_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        gpu.main(["--out", str(tmp_path / "out")])
    printed = capsys.readouterr()
    assert end.value.code == 2
    assert "there is no CUDA device" in printed.err
    assert not printed.out
    assert not (tmp_path / "out").exists()


@needs_no_gpu
def test_the_classic_kernels_say_why_they_are_missing() -> None:
    assert classic_cuda.unavailable() == "there is no CUDA device"


def test_the_classic_kernels_refuse_other_types() -> None:
    value, locations, weights = operands(Case(COCO_LEVELS, 1, 2, HEADS, CHANNELS, POINTS), torch.bfloat16, CPU)
    with pytest.raises(classic_cuda.ClassicKernelError, match="bfloat16"):
        classic_cuda.forward(value, COCO_LEVELS, level_starts(COCO_LEVELS), locations, weights)


def test_the_encoder_samples_around_each_token() -> None:
    _, locations, weights = operands(Case(COCO_LEVELS, 1, 0, HEADS, CHANNELS, POINTS), torch.float32, CPU)
    (height, width), start = COCO_LEVELS[1], level_starts(COCO_LEVELS)[1]
    offsets = locations[0, start + width + 2, :, 1].flatten(0, 1) - torch.tensor([2.5 / width, 1.5 / height])
    assert offsets.abs().max() < 10 / height
    torch.testing.assert_close(weights.sum((-1, -2)), torch.ones(weights.shape[:3]))


def test_bytes_are_those_of_operands_and_results() -> None:
    case = Case(COCO_LEVELS, 1, 3, HEADS, CHANNELS, POINTS)
    value, inputs, output = 22223 * HEADS * CHANNELS * 2, 3 * HEADS * 16 * 3 * 4, 3 * HEADS * CHANNELS * 2
    assert operator_bound(case, "bfloat16", backward=False).bytes == value + inputs + output
    assert operator_bound(case, "bfloat16", backward=True).bytes == 3 * (value + inputs) + 2 * output


def test_the_slower_of_memory_and_arithmetic_is_the_bound() -> None:
    assert Bound(48 * 10**8, 67 * 10**9, 67e12).milliseconds == pytest.approx(1)
    assert Bound(48 * 10**7, 67 * 10**9, 67e12).limit == "FLOPs"
    assert Bound(48 * 10**8, 67 * 10**8, 67e12).limit == "memory"


def test_the_network_is_counted_as_by_its_complexity() -> None:
    counted = count_macs(meta_network(TINY, COCO_THINGS, COCO_STUFF), 96, 64)
    flops = 2 * sum([*counted.products.values(), *counted.sampling.values()])
    forward, step = (network_bound(TINY, (64, 96), 1, "float32", train) for train in (False, True))
    assert forward.flops == pytest.approx(flops, rel=0.1)  # inference reads the masks of fewer queries
    assert 2 < step.flops / forward.flops < 3.5
    assert network_bound(TINY, (64, 96), 3, "float32", train=True).flops == pytest.approx(3 * step.flops, rel=0.01)
    assert network_bound(TINY, (64, 96), 1, "bfloat16", train=False).bytes * 2 == forward.bytes


def test_bounds_are_printed_without_a_gpu() -> None:
    page = unpadded(bounds_page(TINY, (64, 96), batches=(2,)))
    assert "| encoder, batch 8 | forward and backward | bfloat16 |" in page
    assert "| network, 64 x 96, batch 2 | training step | float32 |" in page


def test_rivals_are_checked_and_timed_or_named() -> None:
    case = Case(((4, 6), (2, 3)), 1, 0, 2, 8, 2, "tiny")
    costs, checks = measure_operator(case, CPU, rounds=1, repeats=1, without=["mmcv"])
    timed = {cost.implementation for cost in costs}
    assert {OURS, "transformers (grid_sample), float32"} <= timed
    assert all(cost.median > 0 for cost in costs)
    by_name = {check.implementation: check for check in checks}
    assert by_name["transformers (grid_sample), float32"].difference == pytest.approx(0, abs=1e-5)
    assert CLASSIC not in timed
    assert "CUDA" in by_name[CLASSIC].reason
    assert "mmcv, float32" not in by_name


def test_the_network_is_measured() -> None:
    work = NetworkWorkload(TINY, (64, 96), images=1, rounds=1, device=CPU)
    predicted, trained = inference(work, "float32", compiled=False), training(work, "float32", batch=2)
    assert (predicted.batch, trained.batch) == (1, 2)
    assert min(*predicted.images_per_second, *trained.images_per_second) > 0
    assert "conv" in profile_table(work, "float32")


def test_compilation_is_measured_as_the_product_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[torch.nn.Module] = []

    def keep(network: torch.nn.Module, **_: object) -> torch.nn.Module:
        compiled.append(network)
        return network

    monkeypatch.setattr(torch, "compile", keep)
    monkeypatch.setattr(predictor, "require_compiler", lambda _: None)
    inference(NetworkWorkload(TINY, (64, 96), images=1, rounds=1, device=CPU), "float32", compiled=True)
    assert compiled


CONDITIONS = Conditions("A card", 2**30, {"torch": "1"}, rounds=3, repeats=1, images=1)
TRAINING = next(part for part in PARTS if part.name == "training, float32, batch 1")


def _measured(part: Part, settings: GpuSettings, measured: list[str]) -> PartResult:
    measured.append(part.name)
    try:
        return PartResult(part.name, 1, part.measure(settings))
    except NotImplementedError as error:
        return PartResult(part.name, 1, None, str(error))


def _no_memory(_settings: GpuSettings) -> Findings:
    raise NotImplementedError("out of memory")


def test_what_fails_or_is_late_is_named_and_what_is_finished_is_kept(tmp_path: Path) -> None:
    settings = GpuSettings(TINY, (64, 96), rounds=1, images=1, device="cpu")
    parts = (Part("large", 1, _no_memory), Part("late", 1e6, _no_memory), TRAINING)
    measured: list[str] = []

    def save(report: GpuReport) -> None:
        publish("gpu", gpu_page(report), report, tmp_path)

    run = partial(_measured, settings=settings, measured=measured)
    report = run_parts(GpuReport(CONDITIONS, "command"), parts, 100, run, save)
    assert measured == ["large", TRAINING.name]
    page = unpadded((tmp_path / "gpu.md").read_text())
    assert "| large | out of memory |" in page
    assert "| late | left out for want of time: it may take 1000000 s, and" in page
    kept = read_report("gpu", GpuReport, tmp_path)
    assert kept == report

    again = run_parts(GpuReport(CONDITIONS, "again").resumed(kept), parts, 100, run, save)
    assert measured == ["large", TRAINING.name, "large"]
    assert [part.name for part in again.parts] == ["large", "late", TRAINING.name]
    other = replace(CONDITIONS, versions={"torch": "2"})
    assert not GpuReport(other, "again").resumed(kept).parts


@needs_no_gpu
def test_a_part_runs_in_a_process_that_ends_in_time_and_says_why_it_failed() -> None:
    settings = GpuSettings(TINY, (64, 96), rounds=1, images=1)
    failed = run_apart(TRAINING, settings)
    assert failed.findings is None
    assert "CUDA" in failed.reason or "NVIDIA" in failed.reason
    measured = run_apart(TRAINING, replace(settings, device="cpu"))
    assert measured.findings
    assert measured.findings.training[0].images_per_second[0] > 0
    assert run_apart(replace(TRAINING, seconds=0.05), settings).reason.startswith("ended when its")


def test_the_page_shows_medians_ratios_and_bounds() -> None:
    bound = Bound(10**6, 2 * 10**6, 67e12)
    operator = tuple(
        KernelCost("encoder", "forward", name, times, bound)
        for name, times in {CLASSIC: (4.0, 6.0, 8.0), OURS: (2.0, 2.0, 4.0)}.items()
    )
    checks = (RivalCheck("encoder", OURS, 0.0), RivalCheck("encoder", "another", None, "is not installed"))
    speed = Throughput("float32", True, 1, (3.0, 1.0, 2.0), 2**29, Bound(48 * 10**10, 10**9, 67e12))
    findings = Findings(1e9, operator, checks, (speed,), (speed,), "rows")
    page = unpadded(gpu_page(GpuReport(CONDITIONS, "python -m benchmarks.gpu", (PartResult("all", 1, findings),))))
    assert "| encoder | forward | ours, float32 | 2.000 (2.000 to 4.000) | 2.00 (2.00 to 3.00) | 0 (50%) |" in page
    assert "| 1.0 | 0.00 | 2.0 | 0.000 (memory) | 0% |" in page
    assert "| float32 | compiled | 1 | 2.0 (1.0 to 3.0) | 0.50 |" in page
    assert "100.000 (memory) | 20% |" in page
    assert "| encoder | another | - | is not installed |" in page
    assert "python -m benchmarks.gpu" in page
    assert "Not measured" not in page
