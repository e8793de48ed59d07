"""The page of `benchmarks.inference`."""

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from model.device import pick_device
from model.ops import backends


@dataclass(frozen=True)
class Spread:
    """Median, lowest and highest of several measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "Spread":
        return cls(float(np.median(values)), float(values.min()), float(values.max()))


@dataclass(frozen=True)
class Conditions:
    """Where and how was measured."""

    size: tuple[int, int]
    rounds: int
    device: str
    operator: str
    torch: str
    transformers: str

    @classmethod
    def now(cls, size: tuple[int, int], rounds: int, threads: int) -> "Conditions":
        device = pick_device()
        described = (
            torch.cuda.get_device_name(device)
            if device.type == "cuda"
            else f"{threads} threads of a CPU ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()})"
        )
        operator = backends.choose(device.type)
        return cls(size, rounds, described, operator, torch.__version__, transformers.__version__)


@dataclass(frozen=True)
class Result:
    """By way; the speed-up is against the first one, round by round."""

    seconds: Mapping[str, Spread]
    speedup: Mapping[str, Spread]
    parts: Mapping[str, Mapping[str, float]]
    merging: Mapping[str, Spread]
    merging_speedup: Spread
    memory: Mapping[str, float]


def markdown(result: Result, conditions: Conditions) -> str:
    """The page."""
    return "\n".join([*_head(result, conditions), *_parts(result), *_merging(result)]) + "\n"


def _head(result: Result, conditions: Conditions) -> Iterator[str]:
    height, width = conditions.size
    first = next(iter(result.seconds))
    yield "# Inference: time and memory of one image"
    yield ""
    yield (
        f"Written by `python -m benchmarks.inference --size {height} {width}` on {conditions.device}, torch "
        f"{conditions.torch}, transformers {conditions.transformers}. ResNet-50, {height} x {width} pixels, batch 1, "
        f"random weights, post-processing included. Every way is a process of its own; medians of {conditions.rounds} "
        "rounds in which they take turns, lowest and highest in brackets; memory is the peak beyond the weights, with "
        "what freed memory the process keeps."
    )
    yield ""
    yield (
        "*Straightforward* runs the reference operator, makes all masks of all layers and merges mask by mask; *ours* "
        f"runs the operator `{conditions.operator}`, makes the masks that are read out and merges packed masks. Random "
        "weights find nearly nothing, so merging has little to lay here; see below for masks as a trained network's."
    )
    yield ""
    yield f"| | milliseconds | times as fast as {first} | peak memory, MiB |"
    yield "|---|---:|---:|---:|"
    for name, seconds in result.seconds.items():
        yield f"| {name} | {_ms(seconds)} | {_ratio(result.speedup[name])} | {result.memory[name]:.0f} |"
    yield ""


def _parts(result: Result) -> Iterator[str]:
    if not result.parts:
        return
    yield "## Where the time goes"
    yield ""
    yield "Milliseconds, medians, and shares of the whole."
    yield ""
    yield f"| | {' | '.join(result.parts)} |"
    yield f"|---|{'---:|' * len(result.parts)}"
    for part in next(iter(result.parts.values())):
        cells = [
            f"{1000 * times[part]:.1f} ({times[part] / sum(times.values()):.0%})" for times in result.parts.values()
        ]
        yield f"| {part.replace('_', ' ')} | {' | '.join(cells)} |"
    yield ""


def _merging(result: Result) -> Iterator[str]:
    yield "## Post-processing alone"
    yield ""
    yield "Of made masks, about 20 of 100 things and 6 of 53 stuff classes above the score threshold."
    yield ""
    yield "| | milliseconds | times as fast |"
    yield "|---|---:|---:|"
    for name, seconds in result.merging.items():
        speedup = _ratio(result.merging_speedup) if name == "ours" else "1"
        yield f"| {name} | {_ms(seconds)} | {speedup} |"


def _ms(seconds: Spread) -> str:
    return f"{1000 * seconds.median:.1f} ({1000 * seconds.low:.1f} to {1000 * seconds.high:.1f})"


def _ratio(values: Spread) -> str:
    return f"{values.median:.2f} ({values.low:.2f} to {values.high:.2f})"
