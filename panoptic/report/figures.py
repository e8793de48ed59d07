"""The figures of a run: PNG files for `dvc plots show`, and SVG in the colors of the page, light or dark."""

import io
import re
from collections.abc import Mapping, Sequence

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from panoptic.io.printable import printable
from panoptic.report.run_files import LOSS, RunFiles, Table
from panoptic.report.scores import Breakdown
from panoptic.robustness.figures import COLORS, group_figures, png_file
from panoptic.robustness.summary import CLASS_GROUPS

Line = tuple[Sequence[float], Sequence[float]]
"""The coordinates of a line, x and y."""
Mark = tuple[float, str]
"""A position along x that a vertical line marks, and its color."""
SOFT = "#999999"
# Variables of the page that stand for the colors of figures: text, the gray of a mean, the grid, and the series.
_THEME = {
    "#000000": "var(--ink)",
    SOFT: "var(--soft)",
    "#e6e6e6": "var(--line)",
    **{color: f"var(--series-{number})" for number, color in enumerate(COLORS, start=1)},
}
# What stands before the drawing, the style of a whole page, and ids such as `axes_1` that other figures have as well.
_NOT_INLINE = re.compile(
    r"\A.*?(?=<svg)|<metadata>.*?</metadata>|<style.*?</style>|"
    r'(?<=\d)pt(?=")|(?<= )(?:width|height)="[\d.]+(?:pt)?" (?=[^<>]*viewBox)| id="[\w.]+_\d+"',
    re.DOTALL,
)


def curve_figures(loss: Table | None, quality: Table | None) -> dict[str, Figure]:
    """Draw the curves of training that there are, by name."""
    figures, marks = {}, marks_of([loss], [SOFT])
    if loss is not None:
        figures["loss"] = lines_figure("Training loss", "sum of all terms", loss, LOSS, marks)
    if quality is not None:
        figures["quality"] = lines_figure("PQ on the validation split", "percent", quality, CLASS_GROUPS, marks)
    return figures


def rate_drops(loss: Table) -> list[float]:
    """Return the steps after which a constant learning rate fell to less than half, as the schedule `step` makes it.

    They are as exact as the log: a rate that falls between two of its rows counts from the first of them.
    """
    if "learning_rate" not in loss:
        return []
    rows = list(zip(*line_of(loss, "learning_rate"), strict=True))
    fallen = zip(rows, rows[1:], rows[2:], strict=False)
    return [step for (_, before), (step, rate), (_, after) in fallen if before == rate > 2 * after]


def marks_of(losses: Sequence[Table | None], colors: Sequence[str] = COLORS) -> list[Mark]:
    """Mark where the learning rates of runs fell, in the color of its position if it is that of one run alone."""
    found: dict[float, set[str]] = {}
    for loss, color in zip(losses, colors, strict=False):
        for step in rate_drops(loss) if loss is not None else ():
            found.setdefault(step, set()).add(color)
    return [(step, owners.pop() if len(owners) == 1 else SOFT) for step, owners in found.items()]


def plots(run: RunFiles) -> dict[str, bytes]:
    """Draw what `dvc plots show` shows beside the severities, as PNG files by name."""
    figures = curve_figures(run.loss, run.quality)
    if run.breakdown is not None:
        breakdown = run.breakdown["all"]
        figures["pq_loss"] = bars_figure("PQ loss by error type", "percentage points", breakdown.pq_loss)
        figures["oracle"] = bars_figure("PQ with an oracle for one error type", "percent", _oracles(breakdown))
    return {name: png_file(figure) for name, figure in figures.items()}


def charts(run: RunFiles) -> dict[str, Markup]:
    """Draw the curves of training and the severities as SVG, by name."""
    figures = curve_figures(run.loss, run.quality)
    if run.robustness is not None:
        figures |= {f"severity-{group}": figure for group, figure in group_figures(run.robustness).items()}
    return {name: themed_svg(figure, name) for name, figure in figures.items()}


def lines_figure(title: str, unit: str, table: Table, columns: Sequence[str], marks: Sequence[Mark] = ()) -> Figure:
    """Draw columns over the steps."""
    return overlaid_figure(title, unit, "step", {column: line_of(table, column) for column in columns}, marks)


def line_of(table: Table, column: str) -> Line:
    """Take a column over the steps; values that are not known become NaN."""
    steps, values = ([float(value or "nan") for value in table[name]] for name in ("step", column))
    return steps, values


def overlaid_figure(
    title: str, unit: str, x_label: str, lines: Mapping[str, Line | None], marks: Sequence[Mark] = ()
) -> Figure:
    """Draw lines over each other, each in the color of its position; None is not drawn, and NaN leaves a gap.

    Marks stand for steps after which the learning rate fell.
    """
    figure, axes = empty_plot(title, x_label, unit)
    for (name, line), color in zip(lines.items(), COLORS, strict=False):
        if line is not None:
            # Not clipped: half of a marker at 0 would be outside the axes.
            label = printable(name).replace("$", r"\$")  # else matplotlib reads formulas
            axes.plot(*line, color=color, marker=".", label=label, clip_on=False)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="x", integer=True)
    if marks and axes.lines:
        for x, color in marks:
            axes.axvline(x, color=color, linestyle=":")
        axes.plot([], [], ":", color=SOFT, label="the learning rate falls")
    if axes.lines and (len(lines) > 1 or marks):
        axes.legend(frameon=False)
    return figure


def bars_figure(title: str, unit: str, fractions: Mapping[str, float | None]) -> Figure:
    """Draw a bar in percent for each name, the first at the top, with its value beside it."""
    figure, axes = empty_plot(title, unit, "")
    values = [float("nan") if value is None else 100 * value for value in fractions.values()]
    bars = axes.barh([name.replace("_", " ") for name in fractions], values, color=COLORS[0])
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    return figure


def themed_svg(figure: Figure, name: str) -> Markup:
    """Draw a figure as SVG to stand inside a page, whose variables give its colors; equal figures give equal text."""
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = _NOT_INLINE.sub("", file.getvalue())
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    text = re.sub("#[0-9a-f]{6}", lambda found: _THEME.get(found[0], found[0]), text)
    label = escape(figure.axes[0].get_title() or name)
    return Markup(text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1))


def _oracles(breakdown: Breakdown) -> dict[str, float | None]:
    return {"no oracle": breakdown.pq, **breakdown.oracle}


def empty_plot(title: str, x_label: str, y_label: str) -> tuple[Figure, Axes]:
    """Make the figure that all curves and bars are drawn in."""
    # Not by pyplot, which keeps figures alive and looks for a screen.
    figure = Figure(figsize=(5.6, 3.6), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel=x_label, ylabel=y_label)
    axes.grid(axis="both", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
