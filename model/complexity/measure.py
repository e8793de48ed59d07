"""Latency and memory of one network on this machine, each network in a process of its own.

echo '{"config": {}, "num_things": 80, "num_stuff": 53, "width": 160, "height": 128, "repeats": 10}' |
    python -m model.complexity.measure
"""

import json
import sys
import timeit
from dataclasses import asdict, dataclass

import numpy as np
import torch

from model.complexity.apart import ApartError, run_apart
from model.complexity.memory import MEBIBYTE, peak_resident_bytes, resident_bytes
from model.device import compute_name, pick_device
from model.network.config import NetworkConfig
from model.network.families import build_network

WARM_UP = 2


class MeasurementError(ValueError):
    """A network that could not be run."""


@dataclass(frozen=True)
class Task:
    """A network with random weights, and the image size to run it at, one image at a time."""

    config: NetworkConfig
    num_things: int
    num_stuff: int
    width: int
    height: int
    repeats: int


@dataclass(frozen=True)
class Measurement:
    """Cost of one image in the network alone, without reading, resizing and merging."""

    width: int
    height: int
    device: str
    median_ms: float
    p90_ms: float
    memory_mib: float
    """Peak memory, weights included. On a CPU: the growth of the process, without libraries."""


def measure_apart(name: str, task: Task) -> Measurement:
    """Measure in another process. Raises `MeasurementError` with the model's name if it cannot be run."""
    try:
        return Measurement(**json.loads(run_apart("model.complexity.measure", asdict(task))))
    except ApartError as error:
        cause = str(error).splitlines()[-1]
        raise MeasurementError(
            f"model '{name}' could not be run at {task.width} x {task.height}: {cause}; give a smaller "
            "size in complexity.latency_sizes, or leave the model out of complexity.latency_models"
        ) from None


def measure(task: Task) -> Measurement:
    """Measure in this process."""
    device = pick_device()
    before = resident_bytes()
    network = build_network(task.config, task.num_things, task.num_stuff).eval().to(device)
    images = torch.randn(1, 3, task.height, task.width, device=device)

    def run() -> None:
        network.segment(images)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    with torch.inference_mode():
        seconds = timeit.repeat(run, number=1, repeat=WARM_UP + task.repeats)[WARM_UP:]
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_resident_bytes() - before
    return Measurement(
        width=task.width,
        height=task.height,
        device=compute_name(device),
        median_ms=round(1000 * float(np.median(seconds)), 2),
        p90_ms=round(1000 * float(np.percentile(seconds, 90)), 2),
        memory_mib=round(peak / MEBIBYTE, 1),
    )


def main() -> None:
    """Read a task as JSON, write the measurement as JSON."""
    values = json.load(sys.stdin)
    task = Task(**{**values, "config": NetworkConfig(**values["config"])})
    print(json.dumps(asdict(measure(task))))


if __name__ == "__main__":
    main()
