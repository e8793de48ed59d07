"""The page that compares runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.figure import Figure

from panoptic.io.printable import printable
from panoptic.report import contents
from panoptic.report.compared import Comparison, Row
from panoptic.report.figures import COLORS, empty_plot, themed_svg
from panoptic.report.page import render_page
from panoptic.report.run_files import MISSING, Table
from panoptic.robustness.summary import Robustness

Line = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Axis:
    """The range of the differences that are drawn below each other; it has 0."""

    low: float
    high: float

    @classmethod
    def around(cls, rows: Sequence[Row]) -> "Axis":
        """Hold all intervals."""
        found = [difference.interval for row in rows for difference in row.differences if difference.interval]
        return cls(min((0.0, *(one.low for one in found))), max((0.0, *(one.high for one in found))))

    def percent(self, value: float) -> float:
        """Return how far from the left a value is, with a margin on both sides."""
        width = self.high - self.low
        return round(4 + 92 * (value - self.low) / width if width else 50.0, 2)


def render_comparison(comparison: Comparison) -> str:
    """Render the comparison of runs; equal files give an equal page."""
    scores, classes = list(comparison.score_rows()), comparison.class_rows()
    return render_page(
        "comparison.html",
        columns=comparison.columns,
        others=comparison.others,
        categories=comparison.categories,
        images=len(comparison.counted[0].images),
        scores=scores,
        axis=Axis.around(scores),
        losses=list(comparison.loss_rows()),
        errors=contents.ERRORS,
        charts=_charts(comparison),
        corruptions=list(comparison.corruption_rows()),
        changed=comparison.images(),
        classes=classes,
        class_axis=Axis.around(classes),
        settings=comparison.setting_rows(),
        facts=comparison.fact_rows(),
        missing=MISSING,
    )


def _charts(comparison: Comparison) -> dict[str, Markup]:
    """Draw curves of all runs over each other, by name."""
    runs = {column.name: column.run for column in comparison.columns}
    figures = {
        "loss": _overlaid(
            "Training loss",
            "sum of all terms",
            "step",
            {name: _column(run.loss, "total") for name, run in runs.items()},
        ),
        "quality": _overlaid(
            "PQ on the validation split",
            "percent",
            "step",
            {name: _column(run.quality, "all") for name, run in runs.items()},
        ),
        "severity": _overlaid(
            "PQ by severity",
            "percent, mean of all corruptions",
            "severity",
            {name: _severities(run.robustness) for name, run in runs.items()},
        ),
    }
    return {name: themed_svg(figure, f"compared-{name}") for name, figure in figures.items() if figure.axes[0].lines}


def _column(table: Table | None, column: str) -> Line:
    """Take a column over the steps, without steps of which it is not known."""
    found = (
        [(float(step), float(value)) for step, value in zip(table["step"], table[column], strict=True) if value]
        if table
        else []
    )
    return [step for step, _ in found], [value for _, value in found]


def _severities(robustness: Robustness | None) -> Line:
    """Take the PQ of clean images as severity 0, and the mean under all corruptions."""
    if robustness is None:
        return [], []
    found = {0: robustness.clean["pq"]["all"]} | {level: robustness.mean_pq(level) for level in robustness.severities}
    return list(found), [float("nan") if value is None else 100 * value for value in found.values()]


def _overlaid(title: str, unit: str, x_label: str, lines: Mapping[str, Line]) -> Figure:
    """Draw a line for every run that has one, in the color of its letter."""
    figure, axes = empty_plot(title, x_label, unit)
    for (name, line), color in zip(lines.items(), COLORS, strict=False):
        if line[0]:
            label = printable(name).replace("$", r"\$")  # else matplotlib reads formulas
            axes.plot(*line, color=color, marker=".", label=label, clip_on=False)
    if axes.lines:
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.locator_params(axis="x", integer=True)
        axes.legend(frameon=False)
    return figure
