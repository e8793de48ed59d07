"""One way to segment an image, for the inference benchmark, in a process of its own.

    python -m benchmarks.inference.worker ours --size 480 640 --threads 2

Prints a line once it is ready. For every line of its input it segments the image and prints a `Turn` as JSON.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.inference.ways import OURS, OWN, WAYS, Way, make_way
from model.complexity.measure import MEBIBYTE, peak_resident_bytes, resident_bytes
from model.device import keep_freed_memory, pick_device
from model.network.config import NetworkConfig

PARTS = ("backbone", "neck", "encoder", "location_decoder", "query_masks", "stuff_masks")


@dataclass(frozen=True)
class Turn:
    """Seconds of an image, and of its parts where they are known; MiB at the peak beyond the weights, until now."""

    seconds: float
    parts: dict[str, float]
    memory: float


class Segmenting:
    """A way at work."""

    def __init__(self, name: str, config: NetworkConfig, size: tuple[int, int]) -> None:
        if name in OURS:
            keep_freed_memory()  # as the predict stage does
        self.device = pick_device()
        self.images = made_image(size, self.device)
        self.way = make_way(name, config, size, self.device)
        self.has_parts = name in OWN
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        elif (forget_peak := Path("/proc/self/clear_refs")).exists():  # Linux; elsewhere building counts too
            forget_peak.write_text("5")
        self.before = self._memory(peak=False)

    @torch.no_grad()
    def turn(self) -> Turn:
        """Segment the image once."""
        with ExitStack() as stack:
            parts = stack.enter_context(timed_parts(self.way, self.device)) if self.has_parts else {}
            started = _now(self.device)
            self.way.run(self.images)
            seconds = _now(self.device) - started
        if network := parts.pop("network", 0.0):
            merging = seconds - network
            parts |= {"merging": merging, "rest": seconds - merging - sum(parts.values())}
        return Turn(seconds, parts, (self._memory(peak=True) - self.before) / MEBIBYTE)

    def _memory(self, peak: bool) -> int:
        if self.device.type == "cuda":
            measure = torch.cuda.max_memory_allocated if peak else torch.cuda.memory_allocated
            return measure(self.device)
        return peak_resident_bytes() if peak else resident_bytes()


def made_image(size: tuple[int, int], device: torch.device) -> Tensor:
    """(1, 3, H, W) normal numbers."""
    return torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0)).to(device)


@contextmanager
def timed_parts(way: Way, device: torch.device) -> Iterator[dict[str, float]]:
    """Fill the mapping with seconds of the network and its parts while they run."""
    seconds: dict[str, float] = {}

    def begin(name: str, *_: object) -> None:
        seconds[name] = -_now(device)

    def end(name: str, *_: object) -> None:
        seconds[name] += _now(device)

    parts: list[tuple[str, nn.Module]] = [("network", way.network)]
    parts += [(name, way.network.get_submodule(name)) for name in PARTS]
    hooks = [part.register_forward_pre_hook(partial(begin, name)) for name, part in parts]
    hooks += [part.register_forward_hook(partial(end, name)) for name, part in parts]
    try:
        yield seconds
    finally:
        for hook in hooks:
            hook.remove()


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def main() -> None:
    """Segment on demand."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference.worker")
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("--size", type=int, nargs=2, required=True, metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--config", default="{}", help="settings of ours that are not the published ones, as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    height, width = arguments.size
    segmenting = Segmenting(arguments.way, NetworkConfig(**json.loads(arguments.config)), (height, width))
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(asdict(segmenting.turn())), flush=True)


if __name__ == "__main__":
    main()
