"""Latency and memory of one network on this machine, each network in a process of its own.

    echo '{"config": {}, "num_things": 80, "num_stuff": 53, "width": 160, "height": 128, "repeats": 10}' |
        python -m model.complexity.measure

A process of its own keeps memory honest, which no process gives back in full, and one network's failure away from
the others.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import numpy as np
import torch

from model.device import pick_device
from model.network.config import NetworkConfig
from model.network.panoptic_segformer import PanopticSegFormer
from model.network.queries import top_queries

WARM_UP = 2
MEBIBYTE = 2**20


class MeasurementError(ValueError):
    """A network that could not be run."""


@dataclass(frozen=True)
class Task:
    """A network, with random weights, and how to run it: one image at a time."""

    config: NetworkConfig
    num_things: int
    num_stuff: int
    width: int
    height: int
    repeats: int


@dataclass(frozen=True)
class Measurement:
    """What one image of a size costs: network only, without reading, resizing and merging."""

    width: int
    height: int
    device: str
    median_ms: float
    p90_ms: float
    memory_mib: float
    """At the peak, weights included. On a CPU: by how much the process grew, libraries not included."""


def measure_apart(name: str, task: Task) -> Measurement:
    """Measure in another process. Raises `MeasurementError`, with the model's name, for one that cannot be run."""
    command = [sys.executable, "-m", "model.complexity.measure"]
    process = subprocess.run(command, input=json.dumps(asdict(task)), capture_output=True, text=True)
    if process.returncode:
        said = process.stderr.strip().splitlines()
        cause = said[-1] if said else f"exit status {process.returncode}, killed or out of memory"
        raise MeasurementError(
            f"model '{name}' could not be run at {task.width} x {task.height}: {cause}; give a smaller "
            "size in complexity.latency_sizes, or leave the model out of complexity.latency_models"
        )
    return Measurement(**json.loads(process.stdout))


def measure(task: Task) -> Measurement:
    """Measure in this process."""
    device = pick_device()
    before = resident_bytes()
    network = PanopticSegFormer(task.config, task.num_things, task.num_stuff).eval().to(device)
    images = torch.randn(1, 3, task.height, task.width, device=device)
    select = top_queries(task.config.selected_queries)

    def run() -> None:
        network(images, None, select, auxiliary=False)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    with torch.inference_mode():
        milliseconds = _time(run, task.repeats)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_resident_bytes() - before
    return Measurement(
        width=task.width,
        height=task.height,
        device=torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"cpu, {torch.get_num_threads()} threads",
        median_ms=round(float(np.median(milliseconds)), 2),
        p90_ms=round(float(np.percentile(milliseconds, 90)), 2),
        memory_mib=round(peak / MEBIBYTE, 1),
    )


def _time(run: Callable[[], None], repeats: int) -> list[float]:
    milliseconds = []
    for _ in range(WARM_UP + repeats):
        started = time.perf_counter()
        run()
        milliseconds.append(1000 * (time.perf_counter() - started))
    return milliseconds[WARM_UP:]


def resident_bytes() -> int:
    """Memory of this process."""
    return _status_bytes("VmRSS") or peak_resident_bytes()


def peak_resident_bytes() -> int:
    """Its memory at the peak."""
    # getrusage's peak starts at that of the process that started this one; the kernel's own does not.
    usage = getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return _status_bytes("VmHWM") or usage


def _status_bytes(field: str) -> int:
    """A field of Linux's account of this process; 0 on other systems."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    found = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return 1024 * int(found[0]) if found else 0


def main() -> None:
    """Read a task as JSON, write the measurement as JSON."""
    values = json.load(sys.stdin)
    task = Task(**{**values, "config": NetworkConfig(**values["config"])})
    print(json.dumps(asdict(measure(task))))


if __name__ == "__main__":
    main()
