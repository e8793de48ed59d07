"""The GPU benchmark: it refuses to run without a GPU, its operands are right, its page shows its measurements."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import classic_cuda
from benchmarks.gpu.network import NetworkWorkload, Throughput, inference, profile_table, training
from benchmarks.gpu.operator import CHANNELS, HEADS, POINTS, KernelCost, bytes_moved, operands
from benchmarks.gpu.report import CLASSIC, GpuMachine, GpuReport, gpu_page
from benchmarks.operator.cases import COCO_LEVELS, Case
from model.inference import predictor
from model.network.config import NetworkConfig
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
    parts = operands(Case(COCO_LEVELS, 1, 2, HEADS, CHANNELS, POINTS), torch.bfloat16, CPU)
    with pytest.raises(classic_cuda.ClassicKernelError, match="bfloat16"):
        classic_cuda.forward(*parts)


def test_the_encoder_samples_around_each_token() -> None:
    _, levels, starts, locations, weights = operands(
        Case(COCO_LEVELS, 1, 0, HEADS, CHANNELS, POINTS), torch.float32, CPU
    )
    height, width = levels[1]
    offsets = locations[0, starts[1] + width + 2, :, 1].flatten(0, 1) - torch.tensor([2.5 / width, 1.5 / height])
    assert offsets.abs().max() < 10 / height
    torch.testing.assert_close(weights.sum((-1, -2)), torch.ones(weights.shape[:3]))


def test_bytes_are_those_of_operands_and_results() -> None:
    parts = operands(Case(COCO_LEVELS, 1, 3, HEADS, CHANNELS, POINTS), torch.bfloat16, CPU)
    value, inputs, output = 22223 * HEADS * CHANNELS * 2, 3 * HEADS * 16 * 3 * 4, 3 * HEADS * CHANNELS * 2
    assert bytes_moved(parts, backward=False) == value + inputs + output
    assert bytes_moved(parts, backward=True) == 3 * (value + inputs) + 2 * output


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


def test_the_page_shows_medians_ratios_and_bandwidth() -> None:
    machine = GpuMachine("A card", 2**30, 1e9, {"torch": "1"}, "python -m benchmarks.gpu", "the same")
    operator = [
        KernelCost("encoder", "forward", name, times, 10**6)
        for name, times in {CLASSIC: (4.0, 6.0, 8.0), "ours, float32": (2.0, 2.0, 4.0)}.items()
    ]
    speed = Throughput("float32", True, 1, (3.0, 1.0, 2.0), 2**29)
    report = GpuReport(machine, operator, [speed], [speed], "rows")
    page = unpadded(gpu_page(report))
    assert "| encoder | forward | ours, float32 | 2.000 (2.000 to 4.000) | 2.00 (2.00 to 3.00) | 0 (50%) |" in page
    assert "| float32 | compiled | 2.0 (1.0 to 3.0) | 0.50 |" in page
    assert "python -m benchmarks.gpu" in page
    assert json.loads(json.dumps(asdict(report)))["machine"]["gpu"] == "A card"
