"""The machine that a benchmark runs on: its name, the memory of its device, and the timer that waits for it."""

import os
import platform
from dataclasses import dataclass
from functools import partial

import torch

from benchmarks.harness.timer import Timer
from model.complexity.memory import peak_resident_bytes, reset_peak, resident_bytes
from model.device import pick_device


def timer_for(device: torch.device) -> Timer:
    """Return a timer that waits for CUDA where work runs on it."""
    return Timer(partial(torch.cuda.synchronize, device)) if device.type == "cuda" else Timer()


def machine_name() -> str:
    """Name the GPU that networks run on, else the processor and its cores; `compute_name` counts threads instead."""
    if pick_device().type == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()}, {os.cpu_count()} cores"


def device_bytes(device: torch.device) -> int:
    """Return the memory that the device has."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@dataclass(frozen=True)
class PeakMemory:
    """Peak memory of a device since `start`, in bytes: of torch's allocator on CUDA, else of this process."""

    device: torch.device
    base: int
    """Memory that was held at the start."""

    @classmethod
    def start(cls, device: torch.device) -> "PeakMemory":
        """Forget earlier peaks."""
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return cls(device, torch.cuda.memory_allocated(device))
        reset_peak()
        return cls(device, resident_bytes())

    @property
    def bytes(self) -> int:
        """The peak, with what was held at the start."""
        return torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else peak_resident_bytes()

    @property
    def growth(self) -> int:
        """The peak beyond what was held at the start."""
        return self.bytes - self.base
