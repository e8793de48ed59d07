"""The page of `benchmarks.layers`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.compare_models.report import TrainingBudget
from benchmarks.compare_models.rows import SCORE_THRESHOLD
from benchmarks.harness.results import Summary
from panoptic.evaluation.bootstrap import Interval
from panoptic.markdown import markdown_page, markdown_table

GROUPS = ("all", "things", "stuff")


@dataclass(frozen=True)
class LayerResult:
    """Results of reading the masks of one layer, in percent.

    Attributes:
        layer: block, counted from 1; 0 is the last layer, which only reads masks.
        pq: by group of classes, each with its interval.
        differences: from the last layer, by group of classes; None for the last layer.
        seconds: of an image, from its pixels to the merged map.
        speedup: seconds of the last layer divided by these, round by round.
    """

    layer: int
    pq: Mapping[str, tuple[float, Interval]]
    differences: Mapping[str, tuple[float, Interval]] | None
    seconds: Summary
    speedup: Summary


@dataclass(frozen=True)
class LayersReport:
    """All layers, the last at the end."""

    conditions: TrainingBudget
    seed: int
    depth: int
    timed_images: int
    rounds: int
    device: str
    layers: Sequence[LayerResult]


def layers_page(report: LayersReport) -> str:
    """Render the table of layers, and what they lose and save."""
    header = ["layer", "PQ", "things", "stuff", "images per second", "times the last layer's"]
    differences = ["layer", "PQ", "things", "stuff"]
    return markdown_page(
        "# Masks of each layer of the mask decoder",
        _introduction(report),
        markdown_table(header, [_cells(found, report) for found in report.layers]),
        "## Difference from the last layer",
        "In points of PQ, with 95 % intervals of paired differences: both are scored on the same resampled images.",
        markdown_table(differences, [_difference_cells(found, report) for found in report.layers if found.differences]),
    )


def _introduction(report: LayersReport) -> str:
    budget = report.conditions
    return (
        "Written by `python -m benchmarks.layers`: the paper's table 10. One network with"
        f" {report.depth} blocks in both mask decoders and a last layer that only reads masks, trained once (seed"
        f" {report.seed}) for {budget.steps} steps of {budget.batch_size} images with the other settings of"
        f" `params.yaml`, and scored on {budget.images} validation images with a score threshold of {SCORE_THRESHOLD}."
        " The masks of a layer are the result, and the"
        " layers after it are not computed. PQ in percent with 95 % bootstrap intervals over images, which say nothing"
        " about a second training. Images per second: resized image to merged map, one image at a time,"
        f" {report.timed_images} images, the median of {report.rounds} interleaved rounds with the lowest and the"
        f" highest in brackets, on {report.device}."
    )


def _cells(found: LayerResult, report: LayersReport) -> list[str]:
    speed = f"{found.seconds.reciprocal:.1f}", f"{found.speedup:.2f}"
    return [_title(found, report), *_by_group(found.pq, ".1f"), *speed]


def _difference_cells(found: LayerResult, report: LayersReport) -> list[str]:
    return [_title(found, report), *_by_group(found.differences or {}, "+.1f")]


def _by_group(values: Mapping[str, tuple[float, Interval]], spec: str) -> list[str]:
    """Format values with their limits; a group of classes that does not occur has a dash."""
    found = [values.get(group) for group in GROUPS]
    return [f"{one[0]:{spec}} ({one[1].low:{spec}} to {one[1].high:{spec}})" if one else "-" for one in found]


def _title(found: LayerResult, report: LayersReport) -> str:
    return f"{found.layer} of {report.depth + 1}" if found.layer else f"{report.depth + 1}, the last"
