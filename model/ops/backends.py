"""Choice of the operator's backend: the first of `BACKENDS` that runs on the device, or the requested one.

    PANOPTIC_OPS=reference python -m stages.train ...

A backend is a module with the three functions of `Backend`. It is imported when it is first considered, so that none
needs the packages of another.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Protocol, cast

import torch
from torch import Tensor

VARIABLE = "PANOPTIC_OPS"
Gradients = tuple[Tensor, Tensor, Tensor]
"""Gradients of value, sampling locations and attention weights, each of the shape and type of its tensor."""


class Backend(Protocol):
    """The operator, which checks its operands first; `level_start_index` and shapes are plain numbers."""

    def unavailable(self) -> str | None:
        """Reason why it cannot run here; None where it can."""

    def forward(
        self,
        value: Tensor,
        spatial_shapes: Sequence[Sequence[int]],
        level_start_index: Sequence[int],
        sampling_locations: Tensor,
        attention_weights: Tensor,
    ) -> Tensor:
        """See `model.ops.ms_deform_attn.ms_deform_attn`."""

    def backward(
        self,
        grad: Tensor,
        value: Tensor,
        spatial_shapes: Sequence[Sequence[int]],
        level_start_index: Sequence[int],
        sampling_locations: Tensor,
        attention_weights: Tensor,
        deterministic: bool,
    ) -> Gradients:
        """Compute the gradients from that of the output; `deterministic`: the same bits every time."""


BACKENDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "triton": ("model.ops.triton_kernels", "cuda"),
        "mmcv": ("model.ops.mmcv", "cuda"),
        "cpu": ("model.ops.cpu", "cpu"),
        "reference": ("model.ops.reference", ""),
    }
)
"""Module and device type (empty: all) by name, in order of preference."""

_forced = os.environ.get(VARIABLE) or None


@contextmanager
def using(name: str) -> Iterator[None]:
    """Use one backend within the context, whatever the environment says. Not thread-safe."""
    global _forced
    before, _forced = _forced, name
    try:
        yield
    finally:
        _forced = before


def plain() -> bool:
    """Tell whether the reference is requested, which then runs and traces as plain torch operators."""
    return _forced == "reference"


def choose(device: str) -> str:
    """Choose the backend for a device type.

    Raises:
        ValueError: the requested one does not exist, or cannot run there.
    """
    if _forced is None:
        return _first(device)
    if device == "meta":  # shapes only: nothing runs
        return "reference"
    if reason := why_not(_forced, device):
        raise ValueError(f"the backend {_forced!r}, asked for by {VARIABLE} or `using`, cannot run here: {reason}")
    return _forced


def _first(device: str) -> str:
    return next(name for name in BACKENDS if why_not(name, device) is None)


def why_not(name: str, device: str) -> str | None:
    """Reason why a backend does not run on a device type; None where it does."""
    if name not in BACKENDS:
        return f"there is no such backend; expected one of {', '.join(BACKENDS)}"
    if BACKENDS[name][1] not in ("", device):
        return f"it runs on {BACKENDS[name][1]} tensors only, not on {device}"
    found = _load(name)
    return found if isinstance(found, str) else None


def load(name: str) -> Backend:
    """Load the backend of a name from `choose`."""
    found = _load(name)
    assert not isinstance(found, str)
    return found


@cache
def _load(name: str) -> Backend | str:
    try:
        backend = cast(Backend, import_module(BACKENDS[name][0]))
    except ImportError as error:
        return str(error)
    return backend.unavailable() or backend


def compute_type(value: Tensor) -> torch.dtype:
    """Type of the sums."""
    return torch.float64 if value.dtype == torch.float64 else torch.float32


def describe_rounding(device: torch.device) -> dict[str, object]:
    """Describe everything of this process and its device that decides how sums round, for passports."""
    on_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
        "threads": torch.get_num_threads(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "operator": choose(device.type),
        "cuda": torch.version.cuda if on_gpu else None,
    }
