"""The page of `benchmarks.layers`."""

from dataclasses import dataclass

from benchmarks.compare_models.results import TrainingBudget
from benchmarks.compare_models.rows import SCORE_THRESHOLD
from panoptic.markdown import markdown_page, markdown_table
from panoptic.report.variants import EarlyExit, LayerExit
from panoptic.robustness.summary import CLASS_GROUPS


@dataclass(frozen=True)
class LayersReport:
    """A training of mask decoders with `depth` layers, before the last, which only reads masks; and what it gave."""

    conditions: TrainingBudget
    seed: int
    depth: int
    early_exit: EarlyExit


def layers_page(report: LayersReport) -> str:
    """Render the table of layers, and what they lose and save."""
    header = ["mask layers", "PQ", "things", "stuff", "PQ lost", "milliseconds", "of the time of all"]
    return markdown_page(
        "# Masks of each layer of the mask decoder",
        _introduction(report),
        markdown_table(header, [_cells(layer) for layer in report.early_exit.layers]),
    )


def _introduction(report: LayersReport) -> str:
    budget = report.conditions
    return (
        "Written by `python -m benchmarks.layers`: the paper's table 10. One network with"
        f" {report.depth} layers in both mask decoders and a last one that only reads masks, trained once (seed"
        f" {report.seed}) for {budget.steps} steps of {budget.batch_size} images with the other settings of"
        f" `params.yaml`, and scored on {budget.images} validation images with a score threshold of {SCORE_THRESHOLD}."
        " The masks of a layer are the result, and the layers after it are not computed. PQ in percent; what is lost"
        " is paired: both are scored on the same resampled images. Times: resized image to panoptic map, one image"
        f" at a time, all layers in turns, on {report.early_exit.device}; the median over the images. In brackets 95 %"
        " bootstrap intervals over images, which say nothing about a second training."
    )


def _cells(layer: LayerExit) -> list[str]:
    scores = [f"{100 * layer.pq[group]:.1f}" if group in layer.pq else "-" for group in CLASS_GROUPS]
    loss = "-" if layer.name == "all" else f"{100 * layer.loss:+.1f}"
    return [layer.name, *scores, loss, f"{layer.milliseconds:.1f}", f"{layer.time:.2f}"]
