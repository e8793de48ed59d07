"""Time and memory on the device of this process."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from model.complexity.measure import peak_resident_bytes, resident_bytes


@dataclass(frozen=True)
class Clock:
    """Measures work on a device. `resident` are the bytes that the process had before it."""

    device: torch.device
    repeats: int
    resident: int

    @classmethod
    def start(cls, device: torch.device, repeats: int) -> "Clock":
        """Begin to count memory."""
        return cls(device, repeats, resident_bytes())

    def median(self, work: Callable[[], object]) -> float:
        """Seconds; the first time, which fills caches and reserves memory, does not count."""
        seconds = []
        for _ in range(self.repeats + 1):
            started = time.perf_counter()
            work()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            seconds.append(time.perf_counter() - started)
        return float(np.median(seconds[1:]))

    @property
    def peak_bytes(self) -> int:
        """Memory at the peak so far; on a CPU, by how much the process grew."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return peak_resident_bytes() - self.resident

    @property
    def device_name(self) -> str:
        """Of the GPU, or of the CPU the threads that compute."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"cpu, {torch.get_num_threads()} threads"

    @property
    def device_bytes(self) -> int:
        """Memory that there is."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_properties(self.device).total_memory
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
