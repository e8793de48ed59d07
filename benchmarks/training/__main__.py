"""Steps a second and peak memory of training: ours, the straightforward version, and networks of `transformers`.

    python -m benchmarks.training
    python -m benchmarks.training --only mini --rounds 9

Every network trains in a process of its own, and all those of a comparison take turns, so that whatever else the
machine does is shared alike. Writes training.md and training.json; runs on a GPU where there is one. The embedded
dataset has to be annotated: `dvc repro annotate`.
"""

import argparse
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks.harness.interleave import Turns
from benchmarks.harness.report import device_name, spread
from panoptic.io.files import write_atomically
from panoptic.runtime.cli import run_command


@dataclass(frozen=True)
class Comparison:
    """Networks that take turns, as (network, variant) of `benchmarks.training.worker`; the first is the measure."""

    title: str
    networks: tuple[tuple[str, str], ...]
    steps: int
    """In a turn."""


COMPARISONS: Mapping[str, Comparison] = {
    "mini": Comparison(
        "The embedded dataset, settings of params.yaml, loader included",
        (("mini", "ours"), ("mini", "straightforward"), ("mini", "checkpointing")),
        steps=10,
    ),
    "r50": Comparison(
        "R50 at 480 x 640, batch 1, random weights",
        (
            *(("r50", "ours"), ("r50", "straightforward"), ("r50", "checkpointing")),
            *(("mask2former", "ours"), ("detr", "ours")),
        ),
        steps=1,
    ),
}
NAMES = {"mask2former": "Mask2Former R50 (transformers)", "detr": "DETR R50 (transformers), boxes only"}


@dataclass
class Measured:
    """Seconds a step in every round, and the peak memory."""

    seconds: list[float] = field(default_factory=list)
    megabytes: float = 0.0


def start(network: str, variant: str, threads: int) -> Turns:
    """A process of `benchmarks.training.worker`."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    if variant == "straightforward":
        environment["PANOPTIC_OPS"] = "reference"
    return Turns("training.worker", network, variant, "--threads", str(threads), environment=environment)


def measure(comparison: Comparison, rounds: int, threads: int) -> dict[str, Measured]:
    """Train all networks in turn; the first round does not count."""
    found = {f"{network}:{variant}": Measured() for network, variant in comparison.networks}
    with ExitStack() as stack:
        trainers = []
        for network, variant in comparison.networks:
            trainers.append(start(network, variant, threads))
            stack.callback(trainers[-1].end)
        for number in tqdm(range(rounds + 1), desc=comparison.title, unit="round"):
            for trainer, one in zip(trainers, found.values(), strict=True):
                seconds, one.megabytes = map(float, trainer.take(str(comparison.steps)).split())
                if number:
                    one.seconds.append(seconds / comparison.steps)
    return found


def markdown(measured: Mapping[str, Mapping[str, Measured]], conditions: Mapping[str, str | int]) -> str:
    """The page."""
    introduction = (
        f"Written by `python -m benchmarks.training` on {conditions['device']}, {conditions['threads']} threads, torch"
        f" {conditions['torch']}. Medians of {conditions['rounds']} rounds in which all take turns, lowest and highest"
        " in brackets; a ratio is taken within each round. Memory is the peak of the process, on a GPU that of its"
        " tensors. The straightforward version has the operator's plain reference, makes keys and values of all tokens,"
        " masks padding where there is none, enlarges all masks for dice, matches and orthogonalizes one by one, and"
        " takes floats and masks from the loader, every tensor by itself (`benchmarks.baselines.naive_training`)."
    )
    lines = ["# Training: steps a second and memory", "", introduction, ""]
    for name, of_networks in measured.items():
        lines += [f"## {COMPARISONS[name].title}", "", *_table(of_networks), ""]
    return "\n".join(lines).rstrip() + "\n"


def _table(measured: Mapping[str, Measured]) -> Iterator[str]:
    yield "| | steps a second | seconds a step / ours | peak memory, MB |"
    yield "|---|---:|---:|---:|"
    ours = next(iter(measured.values()))
    for name, one in measured.items():
        network, _, variant = name.partition(":")
        label = NAMES.get(network) or variant.replace("checkpointing", "ours, with activation checkpointing")
        ratios = [theirs / own for theirs, own in zip(one.seconds, ours.seconds, strict=True)]
        rates = [1 / seconds for seconds in one.seconds]
        yield f"| {label} | {spread(rates)} | {spread(ratios)} | {one.megabytes:.0f} |"


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=COMPARISONS, help="one comparison (default: all)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for the page")
    arguments = parser.parse_args(argv)

    def command() -> None:
        if arguments.rounds < 1:
            raise ValueError(f"--rounds is {arguments.rounds}; give at least 1")
        names = [arguments.only] if arguments.only else list(COMPARISONS)
        measured = {name: measure(COMPARISONS[name], arguments.rounds, arguments.threads) for name in names}
        conditions = {"device": device_name(), "torch": torch.__version__}
        conditions |= {"threads": arguments.threads, "rounds": arguments.rounds}
        content = {"conditions": conditions, "measured": {name: _plain(each) for name, each in measured.items()}}
        page = markdown(measured, conditions)
        write_atomically(arguments.out / "training.json", (json.dumps(content, indent=1) + "\n").encode())
        write_atomically(arguments.out / "training.md", page.encode())
        print(page)

    run_command(command)


def _plain(measured: Mapping[str, Measured]) -> dict[str, dict[str, object]]:
    return {name: asdict(one) for name, one in measured.items()}


if __name__ == "__main__":
    main()
