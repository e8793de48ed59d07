"""Time and memory of segmenting a picture: straightforward, ours, and peers of `transformers` with the same backbone.

    python -m benchmarks.inference --size 480 640 --rounds 7

Network and post-processing, batch 1, random weights. All ways take turns in one process; peak memory is measured in a
process for each. Runs on the GPU where there is one. Writes inference.md and inference.json.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.inference_table import Conditions, Result, Spread, markdown
from benchmarks.inference_ways import (
    BY_DEFAULT,
    WAYS,
    Way,
    made_network,
    made_output,
    make_way,
    merge_ours,
    merge_straightforward,
)
from model.complexity.measure import MEBIBYTE, peak_resident_bytes, resident_bytes
from model.device import pick_device
from model.inference import InferenceSettings, inference_forward
from model.network.config import NetworkConfig
from panoptic.commands import run_command
from panoptic.files import write_atomically

PARTS = ("backbone", "neck", "encoder", "location_decoder", "query_masks", "stuff_masks")


@dataclass(frozen=True)
class Plan:
    """What is measured, and how often."""

    names: Sequence[str]
    config: NetworkConfig
    size: tuple[int, int]
    rounds: int
    threads: int


@torch.no_grad()
def measure(plan: Plan) -> Result:
    """Everything, all ways in turns, after a round that does not count."""
    device = pick_device()
    images = made_picture(plan.size, device)
    ways = {name: make_way(name, plan.config, plan.size, device) for name in plan.names}
    seconds = in_turns({name: partial(way.run, images) for name, way in ways.items()}, plan.rounds, device)
    own = {name: way for name, way in ways.items() if name in ("straightforward", "ours")}
    parts = {name: part_seconds(way, images, plan.rounds, device) for name, way in own.items()}
    network = made_network(plan.config, device)
    output = made_output(inference_forward(network, InferenceSettings())(images))
    merging = {"straightforward": merge_straightforward, "ours": merge_ours}
    merged = in_turns({name: partial(merge, output, plan.size) for name, merge in merging.items()}, plan.rounds, device)
    return Result(
        seconds={name: Spread.of(values) for name, values in seconds.items()},
        speedup={name: Spread.of(seconds[plan.names[0]] / values) for name, values in seconds.items()},
        parts=parts,
        merging={name: Spread.of(values) for name, values in merged.items()},
        merging_speedup=Spread.of(merged["straightforward"] / merged["ours"]),
        memory={name: memory_apart(name, plan) for name in plan.names},
    )


def made_picture(size: tuple[int, int], device: torch.device) -> Tensor:
    """(1, 3, H, W) normal numbers."""
    return torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0)).to(device)


def in_turns(
    ways: Mapping[str, Callable[[], object]], rounds: int, device: torch.device
) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Seconds of each way in every round."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in tqdm(range(rounds + 1), desc="measure", unit="round"):
        for name, run in ways.items():
            started = _now(device)
            run()
            found[name].append(_now(device) - started)
    return {name: np.array(values[1:]) for name, values in found.items()}


def part_seconds(way: Way, images: Tensor, rounds: int, device: torch.device) -> dict[str, float]:
    """Median seconds of the parts of the network and of merging; what is between them is `rest`."""
    taken: dict[str, list[float]] = {}
    started: dict[str, float] = {}

    def begin(name: str, *_: object) -> None:
        started[name] = _now(device)

    def end(name: str, *_: object) -> None:
        taken.setdefault(name, []).append(_now(device) - started[name])

    with ExitStack() as hooks:
        for name, part in [("network", way.network), *((name, way.network.get_submodule(name)) for name in PARTS)]:
            hooks.callback(_hook(part, partial(begin, name), partial(end, name)))
        for _ in range(rounds):
            begin("whole")
            way.run(images)
            end("whole")
    medians = {name: float(np.median(values)) for name, values in taken.items()}
    merging, whole = medians["whole"] - medians["network"], medians["whole"]
    parts = {name: medians[name] for name in PARTS}
    return {**parts, "merging": merging, "rest": whole - merging - sum(parts.values())}


def _hook(part: nn.Module, begin: Callable[..., None], end: Callable[..., None]) -> Callable[[], None]:
    handles = part.register_forward_pre_hook(begin), part.register_forward_hook(end)

    def remove() -> None:
        for handle in handles:
            handle.remove()

    return remove


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def memory_apart(name: str, plan: Plan) -> float:
    """MiB that a way needs at its peak beyond its weights, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.inference", "--memory", name, "--threads", str(plan.threads)]
    task = json.dumps({"config": asdict(plan.config), "size": plan.size})
    return float(subprocess.run(command, input=task, stdout=subprocess.PIPE, check=True, text=True).stdout)


@torch.no_grad()
def peak_memory(name: str, config: NetworkConfig, size: tuple[int, int]) -> float:
    """MiB that a way needs at its peak beyond its weights, in this process; of the GPU where there is one."""
    device = pick_device()
    images, way = made_picture(size, device), make_way(name, config, size, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        way.run(images)
        return (torch.cuda.max_memory_allocated(device) - before) / MEBIBYTE
    forget_peak = Path("/proc/self/clear_refs")
    if forget_peak.exists():  # Linux; elsewhere building the network counts too
        forget_peak.write_text("5")
    before = resident_bytes()
    way.run(images)
    return (peak_resident_bytes() - before) / MEBIBYTE


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=[480, 640], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--rounds", type=int, default=7, help="of all ways in turns (default: 7)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU (default: torch's)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(BY_DEFAULT), metavar="WAY", help="some ways")
    parser.add_argument("--memory", choices=WAYS, metavar="WAY", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for the page")
    arguments = parser.parse_args(argv)

    def command() -> None:
        if min(*arguments.size, arguments.rounds, arguments.threads) < 1:
            raise ValueError("give at least one of everything")
        torch.set_num_threads(arguments.threads)
        if arguments.memory:
            task = json.load(sys.stdin)
            print(peak_memory(arguments.memory, NetworkConfig(**task["config"]), tuple(task["size"])))
            return
        height, width = arguments.size
        write(
            Plan(arguments.ways, NetworkConfig(), (height, width), arguments.rounds, arguments.threads), arguments.out
        )

    run_command(command)


def write(plan: Plan, out: Path) -> None:
    """Measure and write the page."""
    result, conditions = measure(plan), Conditions.now(plan.size, plan.rounds, plan.threads)
    content = {"conditions": asdict(conditions), **asdict(result)}
    write_atomically(out / "inference.json", (json.dumps(content, indent=1) + "\n").encode())
    page = markdown(result, conditions)
    write_atomically(out / "inference.md", page.encode())
    print(page)


if __name__ == "__main__":
    main()
