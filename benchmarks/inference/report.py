"""The page of `benchmarks.inference`."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import transformers

from benchmarks.harness.results import Summary
from model.device import pick_device
from model.ops import backends
from panoptic.markdown import markdown_page, markdown_table


@dataclass(frozen=True)
class InferenceConditions:
    """Conditions that all measurements share."""

    size: tuple[int, int]
    rounds: int
    device: str
    operator: str
    torch: str
    transformers: str

    @classmethod
    def now(cls, size: tuple[int, int], rounds: int, threads: int) -> "InferenceConditions":
        """Describe this machine."""
        device = pick_device()
        described = (
            torch.cuda.get_device_name(device)
            if device.type == "cuda"
            else f"{threads} threads of a CPU ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()})"
        )
        operator = backends.choose(device.type)
        return cls(size, rounds, described, operator, torch.__version__, transformers.__version__)


@dataclass(frozen=True)
class InferenceReport:
    """Costs by method; speedups are relative to the first one, round by round."""

    conditions: InferenceConditions
    seconds: Mapping[str, Summary]
    speedup: Mapping[str, Summary]
    parts: Mapping[str, Mapping[str, float]]
    merging: Mapping[str, Summary]
    merging_speedup: Summary
    memory: Mapping[str, float]


def inference_page(report: InferenceReport) -> str:
    """Render the methods, the parts of the network, and post-processing alone."""
    return markdown_page(
        "# Inference: time and memory of one image",
        *_introduction(report.conditions),
        _methods(report),
        *_parts(report.parts),
        "## Post-processing alone",
        "On made masks: about 20 of 100 things and 6 of 53 stuff classes are above the score threshold.",
        _merging(report),
    )


def _introduction(conditions: InferenceConditions) -> tuple[str, str]:
    height, width = conditions.size
    how = (
        f"Written by `python -m benchmarks.inference --size {height} {width}` on {conditions.device}, torch"
        f" {conditions.torch}, transformers {conditions.transformers}. ResNet-50, {height} x {width} pixels, batch 1,"
        " random weights, post-processing included. Every method is a process of its own; medians of"
        f" {conditions.rounds} interleaved rounds, with the lowest and the highest in brackets. Memory is the peak"
        " beyond the weights, freed memory that the process keeps included."
    )
    methods = (
        "*Naive* runs the reference operator, makes all masks of all layers and merges mask by mask; *ours* runs the"
        f" operator `{conditions.operator}`, makes only the masks that are read out and merges packed masks. With"
        " random weights hardly any segment is found, so there is little to merge here; the last table merges masks"
        " like those of a trained network."
    )
    return how, methods


def _methods(report: InferenceReport) -> str:
    first = next(iter(report.seconds))
    rows = [
        [name, f"{seconds * 1000:.1f}", f"{report.speedup[name]:.2f}", f"{report.memory[name]:.0f}"]
        for name, seconds in report.seconds.items()
    ]
    return markdown_table(["", "milliseconds", f"times as fast as {first}", "peak memory, MiB"], rows)


def _parts(parts: Mapping[str, Mapping[str, float]]) -> tuple[str, ...]:
    if not parts:
        return ()
    rows = [
        [
            part.replace("_", " "),
            *(f"{1000 * times[part]:.1f} ({times[part] / sum(times.values()):.0%})" for times in parts.values()),
        ]
        for part in next(iter(parts.values()))
    ]
    title, text = "## Where the time goes", "Milliseconds, medians, with the fraction of the total in brackets."
    return title, text, markdown_table(["", *parts], rows)


def _merging(report: InferenceReport) -> str:
    rows = [
        [name, f"{seconds * 1000:.1f}", f"{report.merging_speedup:.2f}" if name == "ours" else "1"]
        for name, seconds in report.merging.items()
    ]
    return markdown_table(["", "milliseconds", "times as fast"], rows)
