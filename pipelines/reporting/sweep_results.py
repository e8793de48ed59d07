"""Report the trials of a sweep, one row each, as text, Markdown, CSV and a plot."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.dvc_project.trials import Trial
from pipelines.reporting.tables import nested_value

# Okabe and Ito's palette, which color-blind people can tell apart, above all with the markers.
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class Metric:
    """A number in a metrics file: `runs/evaluate/metrics.json:pq.all`."""

    file: str
    key: str

    def __str__(self) -> str:
        return f"{self.file}:{self.key}"

    @staticmethod
    def parse(text: str) -> "Metric":
        """Parse FILE:KEY. Raises `ValueError` if the text has another form."""
        file, colon, key = text.rpartition(":")
        if not (file and colon and key):
            raise ValueError(f"{text!r} is not of the form FILE:KEY, as in runs/evaluate/metrics.json:pq.all")
        return Metric(file, key)


@dataclass(frozen=True)
class Result:
    """The outcome of one trial: its experiment, its state, and its metric if there is one."""

    trial: Trial
    name: str
    state: str
    value: float | None


def metric_values(shown: str, metric: Metric, cache: Path) -> dict[str, float]:
    """Return the metric of each experiment that has it, by name, from the output of `dvc exp show --json`.

    Metrics of DVC are part of it; of any other file it has the digest, by which the file lies in DVC's cache.
    """
    values = {}
    for baseline in json.loads(shown):
        for experiment in baseline.get("experiments") or []:
            for revision in experiment["revs"]:
                value = _look_up(revision.get("data") or {}, metric, cache)
                if revision.get("name") and value is not None:
                    values[str(revision["name"])] = value
    return values


def _look_up(data: dict[str, Any], metric: Metric, cache: Path) -> float | None:
    found: object = ((data.get("metrics") or {}).get(metric.file) or {}).get("data")
    digest = ((data.get("outs") or {}).get(metric.file) or {}).get("hash")
    if found is None and digest and (file := cache / "files" / "md5" / digest[:2] / digest[2:]).is_file():
        found = json.loads(file.read_text(encoding="utf-8"))
    found = nested_value(found, metric.key)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def varied_keys(results: Sequence[Result]) -> tuple[str, ...]:
    """Return the keys set by any trial, in order of first appearance."""
    return tuple(dict.fromkeys(key for result in results for key in result.trial.settings))


def rows(results: Sequence[Result], metric: Metric) -> list[list[str]]:
    """Return the table, header first."""
    keys = varied_keys(results)
    head = [*keys, metric.key, "state", "experiment"]
    return [head] + [
        [
            *(result.trial.settings.get(key, "") for key in keys),
            "" if result.value is None else f"{result.value:.4g}",
            result.state,
            result.name,
        ]
        for result in results
    ]


def records(results: Sequence[Result], metric: Metric) -> list[dict[str, str | float | None]]:
    """Return the table as one dict per row, with the metric as a number."""
    head, *table = rows(results, metric)
    return [
        dict(zip(head, row, strict=True)) | {metric.key: result.value}
        for row, result in zip(table, results, strict=True)
    ]


def csv_table(results: Sequence[Result], metric: Metric) -> str:
    """Format the results as CSV, with the metric at full precision."""
    table = rows(results, metric)
    for row, result in zip(table[1:], results, strict=True):
        row[len(table[0]) - 3] = "" if result.value is None else repr(result.value)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table)
    return text.getvalue()


def draw(results: Sequence[Result], metric: Metric, file: Path) -> bool:
    """Plot the metric to a PNG; if no trial has one, write nothing and return False.

    With at most two keys, the first is the x axis and each value of the second a line. With more keys, or with trials
    that set different keys, each trial is a row, the best at the top.
    """
    found = [result for result in results if result.value is not None]
    if not found:
        return False
    keys = varied_keys(results)
    complete = all(len(result.trial.settings) == len(keys) for result in results)
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    if len(keys) <= 2 and complete:
        _draw_lines(axes, results, keys)
        axes.set_ylabel(metric.key)
    else:
        figure.set_size_inches(8.0, 1.2 + 0.3 * len(found))
        _draw_rows(axes, found)
        axes.set_xlabel(metric.key)
    axes.grid(alpha=0.3)
    figure.savefig(file, dpi=120)
    return True


def _draw_lines(axes: Axes, results: Sequence[Result], keys: Sequence[str]) -> None:
    key, *others = keys
    scale, positions = _axis([result.trial.settings[key] for result in results])
    groups = dict.fromkeys(tuple(result.trial.settings[other] for other in others) for result in results)
    for index, group in enumerate(groups):
        members = [
            (positions[result.trial.settings[key]], result.value)
            for result in results
            if result.value is not None and tuple(result.trial.settings[other] for other in others) == group
        ]
        color, marker = _COLORS[index % len(_COLORS)], _MARKERS[index % len(_MARKERS)]
        label = group[0] if group else None
        axes.plot(*zip(*sorted(members), strict=True), color=color, marker=marker, label=label) if members else None
    axes.set_xlabel(key)
    axes.set_xticks(list(positions.values()), list(positions), minor=False)
    axes.margins(x=0.1)
    if scale == "log":
        axes.set_xscale("log")
        axes.set_xticks(list(positions.values()), list(positions))
        axes.minorticks_off()
    if others:
        axes.legend(title=others[0])


def _axis(values: Sequence[str]) -> tuple[str, dict[str, float]]:
    """Return the scale and each value's position: numbers as they are, on a log scale if they span a decade."""
    unique = dict.fromkeys(values)
    try:
        numbers = {value: float(value) for value in unique}
    except ValueError:
        return "rank", {value: float(rank) for rank, value in enumerate(unique)}
    if not all(map(math.isfinite, numbers.values())):
        return "rank", {value: float(rank) for rank, value in enumerate(unique)}
    smallest, largest = min(numbers.values()), max(numbers.values())
    return ("log" if smallest > 0 and largest >= 10 * smallest else "linear"), numbers


def _draw_rows(axes: Axes, found: Sequence[Result]) -> None:
    ordered = sorted((result.value, str(result.trial)) for result in found if result.value is not None)
    axes.plot([value for value, _ in ordered], range(len(ordered)), "o", color=_COLORS[0])
    axes.set_yticks(range(len(ordered)), [trial for _, trial in ordered])
