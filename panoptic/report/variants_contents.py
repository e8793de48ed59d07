"""The content of the section about other ways of inference: tables, the chart of early exit, and drawings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray

from panoptic.report.explained import Estimate
from panoptic.report.explained_contents import ExplainedImage, read_drawings
from panoptic.report.figures import empty_plot, themed_svg
from panoptic.report.variants import EarlyExit, MergingComparison
from panoptic.robustness.figures import COLORS

METHODS: Mapping[str, str] = {
    "pixel": "argmax per pixel (p)",
    "pixel_class": "argmax of class and mask (p*)",
    "detr": "DETR's argmax (p)",
}


@dataclass(frozen=True)
class Variants:
    """What a run has found by other ways of inference."""

    merging: MergingComparison | None
    early_exit: EarlyExit | None
    chart: Markup | None
    images: Sequence[ExplainedImage]
    methods: Mapping[str, str]


def inference_variants(
    merging: MergingComparison | None, early_exit: EarlyExit | None, folder: Path
) -> Variants | None:
    """Draw the chart, and read the drawings below the folder of the explanation; None if a run has neither.

    Raises:
        DatasetError: a drawing is missing or damaged.
    """
    if merging is None and early_exit is None:
        return None
    chart = themed_svg(early_exit_figure(early_exit), "early-exit") if early_exit else None
    images = read_drawings(merging.drawings, folder) if merging else []
    return Variants(merging, early_exit, chart, images, METHODS)


def early_exit_figure(found: EarlyExit) -> Figure:
    """Draw PQ against milliseconds, a point with its intervals for each layer, joined in their order."""
    figure, axes = empty_plot("PQ against time by mask decoder layers", "milliseconds for an image", "PQ (percent)")
    times, qualities = [layer.milliseconds for layer in found.layers], [layer.pq["all"] for layer in found.layers]
    x, y = ([one.value for one in estimates] for estimates in (times, qualities))
    y = [100 * value for value in y]
    errors = 100 * _errors(qualities)
    axes.errorbar(x, y, errors, _errors(times), color=COLORS[0], marker="o", markersize=4, linewidth=1, elinewidth=1)
    for layer, time, quality in zip(found.layers, x, y, strict=True):
        axes.annotate(layer.name, (time, quality), xytext=(6, 6), textcoords="offset points")
    return figure


def _errors(estimates: Sequence[Estimate]) -> NDArray[np.float64]:
    """Return how far the limits are below and above the values, (2, N); 0 where there are none."""
    below = [0.0 if one.low is None else max(0.0, one.value - one.low) for one in estimates]
    above = [0.0 if one.high is None else max(0.0, one.high - one.value) for one in estimates]
    return np.array([below, above], np.float64)
