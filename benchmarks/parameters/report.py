"""PQ against parameters (figure 1 of both papers): points, the plot, and the page.

The papers' figures have more points than numbers, so theirs are taken from the tables, wherever these print both. Ours
are trained on `mini` with small networks: another axis, another dataset, and a panel of their own.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from benchmarks.compare_models.budgets import EQUAL_TIME
from benchmarks.compare_models.families import FAMILY_ROWS, families_table
from benchmarks.compare_models.results import read_results
from benchmarks.compare_models.rows import PAPERS, RowTable
from benchmarks.harness.results import mean_and_range
from model.published.papers import PaperRow, paper_tables
from panoptic.markdown import markdown_page, markdown_table
from panoptic.robustness.figures import COLORS

FIGURE = "parameters.png"
VERSION_1, VERSION_2, OTHERS = "version 1", "version 2", "other work"
_TABLES = ("v1.T1", "v2.T1", "v2.F1")
_COLORS: Mapping[str, str] = {VERSION_1: COLORS[2], VERSION_2: COLORS[0], OTHERS: "0.55"}
_PAGES: Mapping[str, RowTable] = {"comparison": PAPERS, "families": families_table(list(FAMILY_ROWS))}


@dataclass(frozen=True)
class Point:
    """A network, with its label in the plot: parameters in millions, and PQ in percent, one value for each seed."""

    series: str
    title: str
    label: str
    parameters: float
    pq: tuple[float, ...]

    @property
    def mean(self) -> float:
        """PQ on average over the seeds."""
        return sum(self.pq) / len(self.pq)


@dataclass(frozen=True)
class ParametersReport:
    """The papers' points on COCO val2017, ours on `mini`, and the tables of ours that were read."""

    papers: tuple[Point, ...]
    mini: tuple[Point, ...]
    sources: tuple[str, ...]


def paper_points() -> tuple[Point, ...]:
    """Return every network for which the papers print both; other work as the later table has it."""
    found: dict[str, Point] = {}
    for key in _TABLES:
        for row in paper_tables()[key].rows:
            parameters, quality = row.cells["parameters"], row.cells["PQ"]
            if parameters is not None and quality is not None:
                series = {"v1": VERSION_1, "v2": VERSION_2}[key[:2]] if row.is_own else OTHERS
                found[row.system] = Point(series, *_names(row), parameters, (quality,))
    return tuple(found.values())


def mini_points(folder: Path) -> tuple[tuple[Point, ...], tuple[str, ...]]:
    """Read the networks that were trained on `mini`, and the names of the tables that are there."""
    there = [name for name in _PAGES if (folder / f"{name}.json").exists()]
    return tuple(point for name in there for point in _rows(folder / f"{name}.json", _PAGES[name])), tuple(there)


def _rows(path: Path, table: RowTable) -> Iterator[Point]:
    """Yield the networks of a table that were trained with equal steps, not those that have another row's weights."""
    for name, found in read_results(path).items():
        row = table.rows.get(name)
        if not name.endswith(EQUAL_TIME) and (row is None or row.weights_of is None):
            title = row.title if row else name
            pq = tuple(one.pq["all"] for one in found)
            yield Point(path.stem, title, title, found[0].parameters / 1e6, pq)


def parameters_page(report: ParametersReport) -> str:
    """Render both panels as tables below the plot."""
    return markdown_page(
        "# PQ against parameters",
        "Written by `python -m benchmarks.parameters`. The papers' networks (figure 1) with the figures that their "
        "tables print, on COCO val2017, and the networks that this project has trained on `mini` with one budget "
        f"({' and '.join(f'[{name}]({name}.md)' for name in report.sources) or 'none yet'}). The panels cannot be "
        "compared with each other: datasets, sizes and lengths of training differ.",
        f"![PQ against parameters]({FIGURE})",
        "## The papers, on COCO val2017",
        "The papers print no intervals.",
        markdown_table(["network", "", "parameters, M", "PQ"], [_cells(point) for point in report.papers], labels=2),
        "## Ours, on `mini`",
        "PQ: the mean over the seeds, with the lowest and the highest in brackets. Which differences are more than "
        "chance is said on the pages linked above.",
        markdown_table(["network", "", "parameters, M", "PQ"], [_cells(point) for point in report.mini], labels=2),
    )


def parameters_figure(report: ParametersReport) -> Figure:
    """Draw a panel for the papers and one for ours, with a line from the lowest to the highest seed."""
    # Not by pyplot, which keeps figures alive and looks for a screen.
    figure = Figure(figsize=(12.5, 5.6), layout="constrained")
    papers, mini = figure.subplots(1, 2)
    _draw(papers, "The papers, COCO val2017", report.papers, _COLORS)
    papers.set_xscale("log")
    papers.xaxis.set_major_formatter(ScalarFormatter())
    papers.set_xticks([25, 50, 100, 200, 400])
    papers.minorticks_off()
    _draw(mini, "Ours, mini", report.mini, dict(zip(_PAGES, (COLORS[0], COLORS[1]), strict=True)))
    return figure


def _draw(axes: Axes, title: str, points: Sequence[Point], colors: Mapping[str, str]) -> None:
    for series, color in colors.items():
        own = [point for point in points if point.series == series]
        if own:
            x, y = [point.parameters for point in own], [point.mean for point in own]
            axes.scatter(x, y, 22, color=color, label=series, zorder=3)
            axes.vlines(x, [min(point.pq) for point in own], [max(point.pq) for point in own], color=color, alpha=0.5)
    axes.set(title=title, xlabel="parameters, M", ylabel="PQ (percent)")
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.margins(x=0.12, y=0.08)
    for point, height, is_right in _labels(points):
        side = ("right", -6) if is_right else ("left", 6)
        place = (point.parameters, height)
        axes.annotate(point.label, place, (side[1], -2), "data", "offset points", fontsize=7, color="0.25", ha=side[0])
    axes.spines[["top", "right"]].set_visible(False)
    if points:
        axes.legend(frameon=False, loc="lower right")


def _labels(points: Sequence[Point]) -> Iterator[tuple[Point, float, bool]]:
    """Yield for each point how high its label stands, and whether at its left, so that neighbors do not overlap."""
    if not points:
        return
    heights, logs = [point.mean for point in points], [math.log(point.parameters) for point in points]
    gap, middle, near = (max(heights) - min(heights)) / 36, (max(logs) + min(logs)) / 2, (max(logs) - min(logs)) / 4
    placed: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: point.mean):
        x, y = math.log(point.parameters), point.mean
        for other_x, other_y in placed:
            if abs(other_x - x) <= near and y < other_y + gap:
                y = other_y + gap
        placed = sorted([*placed, (x, y)], key=lambda place: place[1])
        yield point, y, x > middle


def _names(row: PaperRow) -> tuple[str, str]:
    """Return title and label of a network; the legend names the papers' own method."""
    epochs = f", {row.epochs} epochs" if row.is_own and row.epochs else ""
    return f"{row.method}, {row.backbone}{epochs}", f"{'' if row.is_own else row.method + ' '}{row.backbone}{epochs}"


def _cells(point: Point) -> list[str]:
    return [point.title, point.series, f"{point.parameters:.2f}", mean_and_range(point.pq)]
