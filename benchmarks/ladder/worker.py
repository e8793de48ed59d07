"""Train a network for two steps with one image in this process, and print the growth of the memory in MB.

echo '{"config": {}, "size": [240, 320]}' | python -m benchmarks.ladder.worker
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.harness.device import PeakMemory
from benchmarks.harness.trainer import made_batch, make_trainer
from model.complexity.apart import ApartError, run_apart
from model.device import keep_freed_memory, pick_device
from model.network.config import NetworkConfig
from model.network.families import build_network
from model.published.models import COCO_STUFF, COCO_THINGS
from model.training.loop import optimize
from model.training.settings import TrainSettings
from panoptic.format.categories import CategoryTable
from panoptic.index import PanopticIndex

STEPS = 2  # the first reserves the state of the optimizer
THINGS, STUFF = 10, 6
MEGABYTE = 1e6


def training_memory(config: NetworkConfig, size: tuple[int, int]) -> float:
    """Measure in a process of its own. Raises `ValueError` with its output if the network cannot be trained."""
    try:
        return float(run_apart("benchmarks.ladder.worker", {"config": asdict(config), "size": size}))
    except ApartError as error:
        raise ValueError(
            f"a step with one image of {size[0]} x {size[1]} could not be computed, for want of memory perhaps:"
            f" {error}; give a smaller --size"
        ) from None


def grown_memory(config: NetworkConfig, size: tuple[int, int]) -> float:
    """Return the peak in MB, with weights, gradients and optimizer, beyond what this process held before."""
    keep_freed_memory()
    device = pick_device()
    memory = PeakMemory.start(device)
    network = build_network(config, COCO_THINGS, COCO_STUFF).to(device)
    index = PanopticIndex(CategoryTable((), ()), Path(), Path(), ())
    run, state = make_trainer(network, index, TrainSettings(batch_size=1, workers=0))
    batch = made_batch(size, THINGS, STUFF, config.stuff_queries).to(device)
    for _ in range(STEPS):
        optimize(run, state, [batch])
        state.step += 1
    return memory.growth / MEGABYTE


def main() -> None:
    """Read a task as JSON, write the memory."""
    task = json.load(sys.stdin)
    height, width = task["size"]
    torch.manual_seed(0)
    print(grown_memory(NetworkConfig(**task["config"]), (height, width)))


if __name__ == "__main__":
    main()
