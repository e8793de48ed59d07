"""The charts of an explanation: fractions by layer with their intervals, and precision over preference of queries."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from panoptic.io.printable import printable
from panoptic.report.explained import MASK_CURVES, Explanation, LayerCurve, Preference
from panoptic.report.figures import empty_plot
from panoptic.robustness.figures import COLORS

_STYLES = ("-", "--", ":")
_UNIT = "percent"


def curve_figures(explanation: Explanation) -> dict[str, Figure]:
    """Draw the mask decoders, and encoder and location decoder, by name; things and stuff have colors of their own."""
    masks = [curve for curve in explanation.curves if curve.part in MASK_CURVES]
    points = [curve for curve in explanation.curves if curve.part not in MASK_CURVES]
    figures = {}
    if masks:
        figures["attention"] = _by_group("Attention and masks inside the ground truth mask", masks)
    if points:
        figures["sampling"] = _by_group("Sampling weight inside the ground truth mask", points)
    return figures


def compared_curves(runs: Mapping[str, Explanation | None]) -> dict[str, Figure]:
    """Draw attention and masks read of things, and of stuff, with a color for every run."""
    figures = {}
    for group in ("things", "stuff"):
        figure, axes = _plot(f"Inside the ground truth mask: {group}")
        for (name, explanation), color in zip(runs.items(), COLORS, strict=False):
            curves = explanation.curves if explanation else ()
            own = [curve for curve in curves if curve.group == group and curve.part in MASK_CURVES]
            for curve in own:
                _line(axes, curve, f"{name}, {curve.part}", color, _STYLES[MASK_CURVES.index(curve.part)])
        if axes.lines:
            _finish(axes)
        figures[f"inside-{group}"] = figure
    return figures


def preference_figure(preference: Preference) -> Figure:
    """Draw a point for each query that found stuff, with an area for how much, and the line of the regression."""
    figure, axes = empty_plot("Thing preference and stuff precision of queries", "thing preference", "stuff precision")
    points = [(one.preference, one.precision, one.right + one.wrong) for one in preference.points]
    known = [(x, y, count) for x, y, count in points if y is not None]
    if known:
        x, y, counts = np.array(known, np.float64).T
        axes.scatter(100 * x, 100 * y, 12 + 120 * counts / counts.max(), color=COLORS[0], alpha=0.6, linewidths=0)
    if preference.slope is not None and preference.intercept is not None:
        ends = np.array([min(x), max(x)])
        axes.plot(100 * ends, 100 * (preference.intercept + preference.slope.value * ends), color=COLORS[1])
    axes.set_xlim(-3, 103)
    axes.set_ylim(-3, 103)
    return figure


def _by_group(title: str, curves: Sequence[LayerCurve]) -> Figure:
    figure, axes = _plot(title)
    parts = list(dict.fromkeys(curve.part for curve in curves))
    for curve in curves:
        color = COLORS[("things", "stuff").index(curve.group)]
        _line(axes, curve, f"{curve.group}, {curve.part}", color, _STYLES[parts.index(curve.part) % len(_STYLES)])
        if curve.part == parts[0]:
            axes.axhline(100 * curve.area.value, color=color, linewidth=0.8, linestyle=":")
    _finish(axes)
    return figure


def _plot(title: str) -> tuple[Figure, Axes]:
    return empty_plot(title, "layer", _UNIT)


def _line(axes: Axes, curve: LayerCurve, label: str, color: str, style: str) -> None:
    """Draw a curve with its intervals."""
    steps = range(1, len(curve.layers) + 1)
    values = np.array([layer.inside.value for layer in curve.layers])
    limits = [(layer.inside.low, layer.inside.high) for layer in curve.layers]
    low, high = np.array([(np.nan, np.nan) if one[0] is None else one for one in limits], np.float64).T
    axes.plot(steps, 100 * values, color=color, linestyle=style, marker=".", label=printable(label).replace("$", r"\$"))
    axes.vlines(steps, 100 * low, 100 * high, color=color, linewidth=2, alpha=0.5)


def _finish(axes: Axes) -> None:
    axes.set_xlim(left=0.7)
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="x", integer=True)
    axes.legend(frameon=False, fontsize="small")
