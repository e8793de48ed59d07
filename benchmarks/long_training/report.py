"""The page of the longer training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from panoptic.markdown import markdown_page, markdown_table
from panoptic.robustness.summary import CLASS_GROUPS


@dataclass(frozen=True)
class TrainingOutcome:
    """A training and the PQ, in percent, that it reached."""

    recipe: str
    device: str
    torch: str
    images: int
    parameters: int
    steps: int
    seconds: float | None  # of training; None where it was interrupted
    pq: Mapping[str, float]
    boundary_pq: Mapping[str, float]
    curve: Sequence[Mapping[str, float]]
    """Step and PQ of every validation during training."""


def outcome_page(outcome: TrainingOutcome) -> str:
    """Render the PQ at the end and during training."""
    took = "interrupted, so not timed" if outcome.seconds is None else f"{outcome.seconds / 60:.1f} minutes"
    final = [["PQ", *_cells(outcome.pq)], ["boundary PQ", *_cells(outcome.boundary_pq)]]
    curve = [[f"{row['step']:.0f}", *_cells(row)] for row in outcome.curve]
    return markdown_page(
        "# A longer training",
        f"Written by `python -m benchmarks.long_training` on {outcome.device}, torch {outcome.torch}:"
        f" `{outcome.recipe}` over `params.yaml`, {outcome.parameters / 1e6:.1f} million parameters,"
        f" {outcome.steps} steps on {outcome.images} drawn images ({took}).",
        markdown_table(["", *CLASS_GROUPS], final),
        "PQ during training:",
        markdown_table(["step", *CLASS_GROUPS], curve, labels=0),
    )


def _cells(quality: Mapping[str, float]) -> list[str]:
    return [f"{quality[group]:.1f}" for group in CLASS_GROUPS]
