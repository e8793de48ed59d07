"""The page of the grid, and its curves: differences against the steps of training, with intervals."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.compare_models.results import ComparedPair, TrainingBudget
from benchmarks.compare_models.rows import CLOSE, SCORE_THRESHOLD
from benchmarks.deep_supervision.grid import PAGE, QUESTIONS, TITLE, Cell
from panoptic.evaluation.sequential import LEVEL
from panoptic.markdown import markdown_page, markdown_table
from panoptic.robustness.figures import COLORS

FIGURE = f"{PAGE}.png"


@dataclass(frozen=True)
class GridPoint:
    """One difference, in percent PQ, and the mean PQ of the two networks that were compared."""

    question: str
    cell: Cell
    compared: ComparedPair
    means: tuple[float, float]


@dataclass(frozen=True)
class GridReport:
    """All differences, in the order of questions and cells; `planned` is the number of comparisons."""

    conditions: TrainingBudget
    seeds: Sequence[int]
    planned: int
    points: Sequence[GridPoint]

    def by_question(self) -> Mapping[str, Sequence[GridPoint]]:
        """Group the points, leaving out questions without one."""
        found = {name: [point for point in self.points if point.question == name] for name in QUESTIONS}
        return {name: points for name, points in found.items() if points}


def grid_page(report: GridReport) -> str:
    """Render how it was measured, the curves, and a table for each question."""
    return markdown_page(
        f"# {TITLE}",
        _introduction(report),
        f"![Differences against the steps of training]({FIGURE})" if report.points else "",
        *(block for question, points in report.by_question().items() for block in _section(question, points)),
    )


def _introduction(report: GridReport) -> str:
    budget = report.conditions
    return (
        "Written by `python -m benchmarks.deep_supervision`. Trainings from random weights, steps of"
        f" {budget.batch_size} images, seeds {', '.join(map(str, report.seeds))}, the settings of `params.yaml` but for"
        " the columns below, scored on"
        f" {budget.images} validation images with a score threshold of {SCORE_THRESHOLD}. *layers*: blocks of the mask"
        " decoders; *queries*: where those of things start, tokens of the encoder or learned vectors, as published;"
        " *class*: factor of all class losses, against which the mask losses of more layers weigh more."
        " Intervals are Student's 95 % intervals of one difference over seeds and images"
        " (`panoptic.evaluation.network_difference`). A difference is called above or below 0, or close to it (within"
        f" {CLOSE:g} PQ), at one error rate of {100 * LEVEL:g} % for all {report.planned} comparisons (Holm, 1979)."
        " Each length is a training of its own, with whose end the schedule of the learning rate ends."
    )


def _section(question: str, points: Sequence[GridPoint]) -> Iterator[str]:
    asked = QUESTIONS[question]
    yield f"## {asked.title[0].upper()}{asked.title[1:]}"
    yield f"The paper: {asked.claim}. Here: {_summary(points)}."
    first, second = asked.title.split(" minus ")
    header = [
        "layers",
        "queries",
        "class",
        "steps",
        first,
        second,
        "difference",
        "95 % interval",
        "p",
        "called",
        "seeds for 1 PQ",
    ]
    yield markdown_table(header, [_cells(point) for point in points], labels=0)


def _summary(points: Sequence[GridPoint]) -> str:
    """Count how often the first network is called above, below and close to the second, for each depth."""
    return "; ".join(
        f"with {depth} layers {_calls([point for point in points if point.cell.depth == depth])}"
        for depth in sorted({point.cell.depth for point in points})
    )


def _calls(points: Sequence[GridPoint]) -> str:
    calls = Counter(call for point in points for call in point.compared.call.split(", "))
    return ", ".join(f"{call} in {count} of {len(points)}" for call, count in calls.items())


def _cells(point: GridPoint) -> list[str]:
    needed = point.compared.seeds_for_1_pq
    return [
        str(point.cell.depth),
        point.cell.queries,
        f"{point.cell.class_weight:g}",
        str(point.cell.steps),
        *(f"{mean:.1f}" for mean in point.means),
        *point.compared.cells(),
        "-" if needed is None else str(needed),
    ]


def grid_figure(report: GridReport) -> Figure:
    """Draw panels, a row for each question and a column for each network, with a curve for each class weight."""
    by_question = report.by_question()
    columns = sorted({(point.cell.depth, point.cell.queries) for point in report.points})
    # Not by pyplot, which keeps figures alive and looks for a screen.
    figure = Figure(figsize=(4.6 * len(columns), 3.4 * len(by_question)), layout="constrained")
    grid = figure.subplots(len(by_question), len(columns), sharex=True, sharey="row", squeeze=False)
    for panels, (question, points) in zip(grid, by_question.items(), strict=True):
        panels[0].set_ylabel(f"PQ, {QUESTIONS[question].title}")
        for panel, (depth, queries) in zip(panels, columns, strict=True):
            _draw(panel, [one for one in points if (one.cell.depth, one.cell.queries) == (depth, queries)])
            panel.set_title(f"{depth} layers, {queries} queries")
    for panel in grid[-1]:
        panel.set_xlabel("steps")
    return figure


def _draw(panel: Axes, points: Sequence[GridPoint]) -> None:
    weights = sorted({point.cell.class_weight for point in points})
    for number, weight in enumerate(weights):
        curve = [point for point in points if point.cell.class_weight == weight]
        differences = [point.compared.decision.difference for point in curve]
        values = [one.value for one in differences]
        panel.errorbar(
            [point.cell.steps * (1 + 0.02 * number) for point in curve],  # beside each other
            values,
            yerr=[one.interval().high - one.value for one in differences],  # symmetric
            color=COLORS[number % len(COLORS)],
            marker="o",
            capsize=3,
            label=f"class losses x {weight:g}",
        )
    panel.axhline(0, color="0.6", linewidth=0.8)
    panel.grid(axis="y", color="0.9")
    panel.spines[["top", "right"]].set_visible(False)
    if points:
        panel.legend(frameon=False, fontsize="small")
