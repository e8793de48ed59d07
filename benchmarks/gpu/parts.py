"""Parts of the GPU benchmark in the order of their importance, each with the longest time that it may take."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.network import NetworkWorkload, Throughput, inference, profile_table, training
from benchmarks.gpu.operator import CASES, KernelCost, RivalCheck, copy_bandwidth, measure_operator
from benchmarks.operator.cases import Case
from model.network.config import NetworkConfig

SIZE = (800, 1333)
PROFILED = "bfloat16"


@dataclass(frozen=True)
class GpuSettings:
    """Network, image size (height, width), how often everything is measured, on which device, and without whom."""

    config: NetworkConfig
    size: tuple[int, int] = SIZE
    rounds: int = 5
    repeats: int = 30
    images: int = 10
    device: str = "cuda"
    without: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "GpuSettings":
        """Take the fields as JSON gives them back."""
        lists = {name: tuple(values[name]) for name in ("size", "without")}
        return cls(**{**values, **lists, "config": NetworkConfig(**values["config"])})

    @property
    def work(self) -> NetworkWorkload:
        """The network's part of them."""
        return NetworkWorkload(self.config, self.size, self.images, self.rounds, torch.device(self.device))


@dataclass(frozen=True)
class Findings:
    """Measurements of one part."""

    copy_bandwidth: float | None = None
    operator: tuple[KernelCost, ...] = ()
    checks: tuple[RivalCheck, ...] = ()
    inference: tuple[Throughput, ...] = ()
    training: tuple[Throughput, ...] = ()
    profile: str = ""


@dataclass(frozen=True)
class Part:
    """A part by name; `seconds` include the start of its process."""

    name: str
    seconds: float
    measure: Callable[[GpuSettings], Findings]


def _copy(settings: GpuSettings) -> Findings:
    return Findings(copy_bandwidth=copy_bandwidth(settings.repeats, torch.device(settings.device)))


def _operator(case: Case, settings: GpuSettings) -> Findings:
    device = torch.device(settings.device)
    costs, checks = measure_operator(case, device, settings.rounds, settings.repeats, settings.without)
    return Findings(operator=costs, checks=checks)


def _inference(precision: str, compiled: bool, settings: GpuSettings) -> Findings:
    return Findings(inference=(inference(settings.work, precision, compiled),))


def _training(precision: str, batch: int, settings: GpuSettings) -> Findings:
    return Findings(training=(training(settings.work, precision, batch),))


def _profile(settings: GpuSettings) -> Findings:
    return Findings(profile=profile_table(settings.work, PROFILED))


def _operator_part(case: Case, seconds: float) -> Part:
    return Part(f"operator, {case.title}", seconds, partial(_operator, case))


def _inference_part(precision: str, compiled: bool, seconds: float) -> Part:
    how = "compiled" if compiled else "eager"
    return Part(f"inference, {precision}, {how}", seconds, partial(_inference, precision, compiled))


def _training_part(precision: str, batch: int, seconds: float) -> Part:
    return Part(f"training, {precision}, batch {batch}", seconds, partial(_training, precision, batch))


PARTS = (
    Part("copy", 30, _copy),
    _operator_part(CASES[0], 60),
    _inference_part("bfloat16", False, 45),
    _training_part("bfloat16", 1, 45),
    _operator_part(CASES[3], 45),
    _training_part("bfloat16", 8, 60),
    _inference_part("float32", False, 45),
    _training_part("float32", 1, 45),
    Part("profile", 30, _profile),
    _operator_part(CASES[1], 60),
    _inference_part("bfloat16", True, 120),
    _training_part("bfloat16", 2, 45),
    _operator_part(CASES[2], 75),
    _training_part("float32", 8, 75),
    _training_part("float32", 2, 45),
    _inference_part("float32", True, 120),
)
"""First those without which nothing is known of a GPU; compilation, which takes longest, behind what is quick."""
