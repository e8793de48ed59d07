"""Images a second of `panoptic predict`, decoding and writing included, against the network and its merging alone.

    python -m benchmarks.predict --images photos/ --model runs/train/model.safetensors --rounds 5

The command is a process of its own, timed from its first image to its last file; the network gets the same images
decoded and resized beforehand, and drops its results. Rounds are interleaved. Writes predict.md and predict.json.
"""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from benchmarks.harness.command import benchmark_parser
from benchmarks.harness.device import machine_name, timer_for
from benchmarks.harness.interleave import interleave
from benchmarks.harness.photos import load_photos
from benchmarks.harness.results import Summary, publish
from model.device import pick_device
from model.inference.predictor import NetworkInput, Predictor
from panoptic.io.working_folder import working_folder
from panoptic.markdown import markdown_page, markdown_table
from panoptic.runtime.cli import run_command

COMMAND, NETWORK = "panoptic predict", "network and merging alone"


@dataclass(frozen=True)
class PredictPlan:
    """Images, weights and repetitions of the benchmark."""

    images: Path
    model: Path
    batch_size: int
    rounds: int


@dataclass(frozen=True)
class PredictReport:
    """Images a second, and the fraction of the bare network's that the command reaches, round by round."""

    device: str
    images: int
    batch_size: int
    rounds: int
    rates: Mapping[str, Summary]
    fraction: Summary


def measure(plan: PredictPlan) -> PredictReport:
    """Measure both. Raises `ValueError` for weights without sizes, and for a folder without images."""
    inputs, predictor = _prepared(plan)
    seconds = interleave(
        {COMMAND: partial(_run_command, plan), NETWORK: partial(_run, predictor, inputs, plan)}, plan.rounds
    )
    return PredictReport(
        device=machine_name(),
        images=len(inputs),
        batch_size=plan.batch_size,
        rounds=plan.rounds,
        rates={name: Summary.of([len(inputs) / value for value in values]) for name, values in seconds.items()},
        fraction=Summary.of_ratios(seconds[NETWORK], seconds[COMMAND]),
    )


def _prepared(plan: PredictPlan) -> tuple[list[NetworkInput], Predictor]:
    photos, predictor = load_photos(plan.images, plan.model, plan.batch_size)
    return sorted((photo.prepared for photo in photos), key=lambda one: one.size), predictor


def _run(predictor: Predictor, inputs: Sequence[NetworkInput], plan: PredictPlan) -> float:
    """Return the seconds of the network and its merging."""

    def predict() -> None:
        for _, group in groupby(inputs, key=lambda one: one.size):
            images = list(group)
            for start in range(0, len(images), plan.batch_size):
                predictor.predict(images[start : start + plan.batch_size])

    return timer_for(pick_device()).seconds(predict)


def _run_command(plan: PredictPlan) -> float:
    """Return the seconds that the command says it took, without loading the weights."""
    with working_folder() as folder:
        arguments = [str(plan.images), "--model", str(plan.model), "--out", str(folder / "out"), "--quiet"]
        command = [sys.executable, "-m", "panoptic_segformer.predict", *arguments, "--batch-size", str(plan.batch_size)]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = re.search(r"predicted in ([0-9.]+) s", said)
    assert found, said
    return float(found[1])


def predict_page(report: PredictReport) -> str:
    """Render the rates."""
    how = (
        f"Written by `python -m benchmarks.predict` on {report.device}: {report.images} images, batches of"
        f" {report.batch_size}. *{COMMAND}* decodes, predicts, draws and writes in overlap, and is timed from its first"
        f" image to its last file; *{NETWORK}* gets the same images decoded and resized. Medians of {report.rounds}"
        " interleaved rounds, with the lowest and the highest in brackets."
    )
    rows = [[name, f"{rate:.2f}"] for name, rate in report.rates.items()]
    return markdown_page(
        "# The speed of `panoptic predict`",
        how,
        markdown_table(["", "images a second"], rows),
        f"The command reaches {report.fraction:.2f} of the rate of the bare network.",
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = benchmark_parser("predict", __doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder or zip file of images")
    parser.add_argument("--model", type=Path, default=Path("runs/train/model.safetensors"), help="weights")
    parser.add_argument("--batch-size", type=int, default=1, help="images that share a forward pass (default: 1)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: 5)")
    arguments = parser.parse_args(argv)

    def command() -> None:
        if min(arguments.rounds, arguments.batch_size) < 1:
            raise ValueError("give at least one round, and batches of at least one image")
        plan = PredictPlan(arguments.images, arguments.model, arguments.batch_size, arguments.rounds)
        report = measure(plan)
        publish("predict", predict_page(report), report, arguments.out)

    run_command(command)


if __name__ == "__main__":
    main()
