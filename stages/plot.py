"""Draw the curves of training and the error breakdown as PNG files, which `dvc plots show` shows without a network.

    python -m stages.plot --curves runs/train --scores runs/evaluate --out runs/plots

A stage of its own: to edit a plot computes no weights and no scores again.
"""

import argparse
import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from panoptic.io.files import write_together
from panoptic.io.reading import read_text
from panoptic.runtime.cli import run_command

Table = Mapping[str, Sequence[str]]
"""The columns of a CSV file by name."""
# Distinguishable with color blindness, too (Okabe and Ito).
_COLORS = ("#0072b2", "#d55e00", "#009e73")


def plot(curves: Path, scores: Path, out: Path) -> None:
    """Draw all plots into the folder `out`."""
    loss, quality = read_table(curves / "loss.csv"), read_table(curves / "quality.csv")
    pq_loss, oracle = read_table(scores / "pq_loss.csv"), read_table(scores / "oracle.csv")
    figures = {
        "loss": lines_figure("Training loss", "sum of all terms", loss, ("total",)),
        "quality": lines_figure("PQ on the validation split", "percent", quality, ("all", "things", "stuff")),
        "pq_loss": _bars("PQ loss by error type", "percentage points", pq_loss, "error"),
        "oracle": _bars("PQ with an oracle for one error type", "percent", oracle, "oracle"),
    }
    with write_together() as results:
        for name, figure in figures.items():
            file = io.BytesIO()
            figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
            results.write(out / f"{name}.png", file.getvalue())


def read_table(file: Path) -> Table:
    """Read a CSV file with a header."""
    head, *rows = csv.reader(io.StringIO(read_text(file), newline=""))
    return {name: [row[index] for row in rows] for index, name in enumerate(head)}


def lines_figure(title: str, unit: str, table: Table, columns: Sequence[str]) -> Figure:
    """Draw columns over the steps; values that are not known leave a gap."""
    figure, axes = _empty_plot(title, "step", unit)
    steps = [int(step) for step in table["step"]]
    for column, color in zip(columns, _COLORS, strict=False):
        values = [float(value or "nan") for value in table[column]]
        # Not clipped: half of a marker at 0 would be outside the axes.
        axes.plot(steps, values, color=color, marker=".", label=column, clip_on=False)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="x", integer=True)
    if len(columns) > 1:
        axes.legend(frameon=False)
    return figure


def _bars(title: str, unit: str, table: Table, names: str) -> Figure:
    """Draw the mean over all classes as a bar for each name, the first at the top, with its value beside it."""
    figure, axes = _empty_plot(title, unit, "")
    values = [100 * float(value or "nan") for value in table["all"]]
    bars = axes.barh([name.replace("_", " ") for name in table[names]], values, color=_COLORS[0])
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    return figure


def _empty_plot(title: str, x_label: str, y_label: str) -> tuple[Figure, Axes]:
    # Not by pyplot, which keeps figures alive and looks for a screen.
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel=x_label, ylabel=y_label)
    axes.grid(axis="both", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m stages.plot", description=__doc__.splitlines()[0])
    parser.add_argument("--curves", type=Path, required=True, help="folder with loss.csv and quality.csv")
    parser.add_argument("--scores", type=Path, required=True, help="folder with pq_loss.csv and oracle.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder for the PNG files")
    given = parser.parse_args(argv)
    run_command(lambda: plot(given.curves, given.scores, given.out))


if __name__ == "__main__":
    main()
