"""The page that compares runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from panoptic.report import contents
from panoptic.report.comparison import Comparison, Row
from panoptic.report.explained_figures import compared_curves
from panoptic.report.figures import Line, line_of, marks_of, overlaid_figure, themed_svg
from panoptic.report.page import render_page
from panoptic.report.run_files import MISSING
from panoptic.robustness.summary import Robustness


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
    marks = marks_of([run.loss for run in runs.values()])
    figures = {
        "loss": overlaid_figure(
            "Training loss",
            "sum of all terms",
            "step",
            {name: line_of(run.loss, "total") if run.loss else None for name, run in runs.items()},
            marks,
        ),
        "quality": overlaid_figure(
            "PQ on the validation split",
            "percent",
            "step",
            {name: line_of(run.quality, "all") if run.quality else None for name, run in runs.items()},
            marks,
        ),
        "severity": overlaid_figure(
            "PQ by severity",
            "percent, mean of all corruptions",
            "severity",
            {name: _severities(run.robustness) if run.robustness else None for name, run in runs.items()},
        ),
    }
    figures |= compared_curves({name: run.explanation for name, run in runs.items()})
    levels = sorted({level for run in runs.values() if run.robustness for level in (0, *run.robustness.severities)})
    figures["severity"].axes[0].set_xticks(levels, ["clean" if level == 0 else f"{level:g}" for level in levels])
    return {name: themed_svg(figure, f"compared-{name}") for name, figure in figures.items() if figure.axes[0].lines}


def _severities(robustness: Robustness) -> Line:
    """Take the PQ of clean images as severity 0, and the mean under all corruptions."""
    found = {0: robustness.clean["pq"]["all"]} | {level: robustness.mean_pq(level) for level in robustness.severities}
    return list(found), [float("nan") if value is None else 100 * value for value in found.values()]
