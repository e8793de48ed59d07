"""Segment an image by one method for the inference benchmark in this process.

    python -m benchmarks.inference.worker ours --size 480 640 --threads 2

Prints a line when it is ready. For every line of its input, it segments the image and prints a `SegmentationCost` as
JSON.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.harness.device import PeakMemory, timer_for
from benchmarks.harness.timer import Timer
from benchmarks.inference.methods import METHODS, OURS, OWN, Method, make_method
from model.complexity.memory import MEBIBYTE
from model.device import keep_freed_memory, pick_device
from model.network.config import NetworkConfig

PARTS = ("backbone", "neck", "encoder", "location_decoder", "query_masks", "stuff_masks")


@dataclass(frozen=True)
class SegmentationCost:
    """Seconds of an image and of its known parts, and the peak so far in MiB beyond the weights."""

    seconds: float
    parts: dict[str, float]
    memory: float


class MethodAtWork:
    """A method, the image that it segments, and what measures it."""

    def __init__(self, name: str, config: NetworkConfig, size: tuple[int, int]) -> None:
        """Make the method and the image, and start to measure memory."""
        if name in OURS:
            keep_freed_memory()  # as the predict stage does
        device = pick_device()
        self.images, self.timer = made_image(size, device), timer_for(device)
        self.method = make_method(name, config, size, device)
        self.has_parts = name in OWN
        self.memory = PeakMemory.start(device)

    @torch.no_grad()
    def run(self) -> SegmentationCost:
        """Segment the image once."""
        with ExitStack() as stack:
            parts = stack.enter_context(timed_parts(self.method, self.timer)) if self.has_parts else {}
            seconds = self.timer.seconds(lambda: self.method.run(self.images))
        if network := parts.pop("network", 0.0):
            merging = seconds - network
            parts |= {"merging": merging, "rest": seconds - merging - sum(parts.values())}
        return SegmentationCost(seconds, parts, self.memory.growth / MEBIBYTE)


def made_image(size: tuple[int, int], device: torch.device) -> Tensor:
    """Draw normal numbers (1, 3, H, W)."""
    return torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0)).to(device)


@contextmanager
def timed_parts(method: Method, timer: Timer) -> Iterator[dict[str, float]]:
    """Fill the mapping with the seconds of the network and its parts that run in the block."""
    seconds: dict[str, float] = {}

    def begin(name: str, *_: object) -> None:
        seconds[name] = -timer.now()

    def end(name: str, *_: object) -> None:
        seconds[name] += timer.now()

    parts: list[tuple[str, nn.Module]] = [("network", method.network)]
    parts += [(name, method.network.get_submodule(name)) for name in PARTS]
    hooks = [part.register_forward_pre_hook(partial(begin, name)) for name, part in parts]
    hooks += [part.register_forward_hook(partial(end, name)) for name, part in parts]
    try:
        yield seconds
    finally:
        for hook in hooks:
            hook.remove()


def main() -> None:
    """Segment the image for every line of the input."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference.worker")
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("--size", type=int, nargs=2, required=True, metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--config", default="{}", help="settings of our network other than the published ones, as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    height, width = arguments.size
    work = MethodAtWork(arguments.method, NetworkConfig(**json.loads(arguments.config)), (height, width))
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(asdict(work.run())), flush=True)


if __name__ == "__main__":
    main()
