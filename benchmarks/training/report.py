"""The comparisons of the training benchmark, and its page."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.harness.results import Summary
from panoptic.markdown import markdown_page, markdown_table


@dataclass(frozen=True)
class Comparison:
    """Networks to compare, as (network, variant) of `benchmarks.training.worker`; the first is the baseline."""

    title: str
    networks: tuple[tuple[str, str], ...]
    steps: int
    """Steps per round."""


COMPARISONS: Mapping[str, Comparison] = {
    "mini": Comparison(
        "The embedded dataset, settings of params.yaml, loader included",
        (("mini", "ours"), ("mini", "naive"), ("mini", "checkpointing")),
        steps=10,
    ),
    "r50": Comparison(
        "R50 at 480 x 640, batch 1, random weights",
        (("r50", "ours"), ("r50", "naive"), ("r50", "checkpointing"), ("mask2former", "ours"), ("detr", "ours")),
        steps=1,
    ),
}
NAMES = {"mask2former": "Mask2Former R50 (transformers)", "detr": "DETR R50 (transformers), boxes only"}


@dataclass(frozen=True)
class StepCost:
    """Seconds per step in every round, and the peak memory."""

    seconds: list[float]
    megabytes: float


@dataclass(frozen=True)
class TrainingConditions:
    """Conditions that all measurements share."""

    device: str
    torch: str
    threads: int
    rounds: int


@dataclass(frozen=True)
class TrainingReport:
    """The cost of every network, by comparison."""

    conditions: TrainingConditions
    measured: Mapping[str, Mapping[str, StepCost]]


def training_page(report: TrainingReport) -> str:
    """Render a table for each comparison."""
    conditions = report.conditions
    introduction = (
        f"Written by `python -m benchmarks.training` on {conditions.device}, {conditions.threads} threads, torch"
        f" {conditions.torch}. Medians of {conditions.rounds} interleaved rounds, with the lowest and the highest in"
        " brackets; ratios are taken within each round. Memory is the peak of the process, on a GPU that of its"
        " tensors. The naive version (`benchmarks.baselines.naive_training`) runs the operator's plain reference, makes"
        " keys and values of all tokens, masks padding where there is none, upsamples all masks for the dice loss,"
        " matches and orthogonalizes one by one, and takes float images and separate masks from the loader, tensor by"
        " tensor."
    )
    sections = [
        block for name, costs in report.measured.items() for block in (f"## {COMPARISONS[name].title}", _table(costs))
    ]
    return markdown_page("# Training: steps per second and memory", introduction, *sections)


def _table(costs: Mapping[str, StepCost]) -> str:
    ours = next(iter(costs.values()))
    rows = []
    for name, cost in costs.items():
        network, _, variant = name.partition(":")
        label = NAMES.get(network) or variant.replace("checkpointing", "ours, with activation checkpointing")
        rate = Summary.of([1 / seconds for seconds in cost.seconds])
        ratio = Summary.of_ratios(cost.seconds, ours.seconds)
        rows.append([label, f"{rate:.2f}", f"{ratio:.2f}", f"{cost.megabytes:.0f}"])
    return markdown_table(["", "steps per second", "seconds per step / ours", "peak memory, MB"], rows)
