"""Time and memory of segmenting an image: straightforward, ours, and peers of `transformers` with the same backbone.

    python -m benchmarks.inference --size 480 640 --rounds 7

Network and post-processing, batch 1, random weights. Every way is a process of its own, and all take turns. Runs on
the GPU where there is one. Writes inference.md and inference.json.
"""

import argparse
import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.harness.interleave import Turns
from benchmarks.inference.report import Conditions, Result, Spread, markdown
from benchmarks.inference.ways import (
    BY_DEFAULT,
    OWN,
    WAYS,
    made_network,
    made_output,
    merge_ours,
    merge_straightforward,
)
from benchmarks.inference.worker import Turn, made_image
from model.device import pick_device
from model.inference.predict import InferenceSettings, inference_forward
from model.network.config import NetworkConfig
from panoptic.io.files import write_atomically
from panoptic.runtime.cli import run_command


@dataclass(frozen=True)
class Plan:
    """What is measured, and how often."""

    names: Sequence[str]
    config: NetworkConfig
    size: tuple[int, int]
    rounds: int
    threads: int


def measure(plan: Plan) -> Result:
    """Everything, all ways in turns, after a round that does not count."""
    turns = take_turns(plan)
    seconds = {name: np.array([turn.seconds for turn in taken]) for name, taken in turns.items()}
    merged = merging_seconds(plan)
    return Result(
        seconds={name: Spread.of(values) for name, values in seconds.items()},
        speedup={name: Spread.of(seconds[plan.names[0]] / values) for name, values in seconds.items()},
        parts={name: median_parts(turns[name]) for name in OWN if name in turns},
        merging={name: Spread.of(values) for name, values in merged.items()},
        merging_speedup=Spread.of(merged["straightforward"] / merged["ours"]),
        memory={name: taken[-1].memory for name, taken in turns.items()},
    )


def take_turns(plan: Plan) -> dict[str, list[Turn]]:
    """What every way says of every round, each in a process of its own."""
    height, width = map(str, plan.size)
    common = ("--size", height, width, "--threads", str(plan.threads), "--config", json.dumps(asdict(plan.config)))
    found: dict[str, list[Turn]] = {name: [] for name in plan.names}
    with ExitStack() as stack:
        processes = {name: Turns("inference.worker", name, *common) for name in plan.names}
        for process in processes.values():
            stack.callback(process.end)
        for number in tqdm(range(plan.rounds + 1), desc="measure", unit="round"):
            for name, process in processes.items():
                turn = Turn(**json.loads(process.take()))
                if number:
                    found[name].append(turn)
    return found


def median_parts(turns: Sequence[Turn]) -> dict[str, float]:
    """Median seconds of every part."""
    return {name: float(np.median([turn.parts[name] for turn in turns])) for name in turns[0].parts}


@torch.no_grad()
def merging_seconds(plan: Plan) -> dict[str, NDArray[np.float64]]:
    """Seconds of post-processing alone in every round, of masks as a trained network's, in this process."""
    device = pick_device()
    images = made_image(plan.size, device)
    output = made_output(inference_forward(made_network(plan.config, device), InferenceSettings())(images))
    found: dict[str, list[float]] = {}
    for number in range(plan.rounds + 1):
        for name, merge in zip(OWN, (merge_straightforward, merge_ours), strict=True):
            started = time.perf_counter()
            merge(output, plan.size)
            if number:
                found.setdefault(name, []).append(time.perf_counter() - started)
    return {name: np.array(values) for name, values in found.items()}


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=[480, 640], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--rounds", type=int, default=7, help="of all ways in turns (default: 7)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU (default: torch's)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(BY_DEFAULT), metavar="WAY", help="some ways")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for the page")
    arguments = parser.parse_args(argv)

    def command() -> None:
        if min(*arguments.size, arguments.rounds, arguments.threads) < 1:
            raise ValueError("give at least one of everything")
        torch.set_num_threads(arguments.threads)
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
