"""Details of a comparison's rows beside PQ: further scores, errors, robustness, and costs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.compare_models.rows import RowTable
from benchmarks.harness.results import mean_and_range
from benchmarks.harness.stages import percentages
from model.complexity.measure import Measurement
from panoptic.io.json_fields import JsonObject, read_json
from panoptic.markdown import markdown_table

SCORES = {
    "SQ": ("sq", "all"),
    "RQ": ("rq", "all"),
    "boundary PQ": ("boundary_pq", "all"),
    "boundary SQ": ("boundary_sq", "all"),
    "boundary RQ": ("boundary_rq", "all"),
    "mask AP": ("ap", "segm", "AP"),
    "box AP": ("ap", "bbox", "AP"),
}
"""Columns beside PQ, as in tables 7 and 8 of the paper's second version, and where metrics.json has them."""
KEPT = "PQ kept"
_SCORES = (
    "In percent, means over the seeds with the lowest and the highest in brackets. Of a class, PQ is SQ, the mean IoU"
    " of the matched segments, times RQ, the F1 score of matching; columns are means over classes. *Boundary* looks at"
    " outlines only. AP is of the things before merging: rows with the same weights differ in it only if they order the"
    " masks by another score."
)
_KEPT = (
    "*PQ kept*: PQ under the corruptions of COCO-C as a part of PQ on the same images without them. A network that"
    " finds little has little to lose."
)
_ERRORS = (
    "What is missing to 100 PQ by type of error (docs/evaluate.md explains them); before rounding the columns add up."
)

_COSTS = (
    "One image at a time through the network alone, with random weights, each in a process of its own; memory is the"
    " growth of the process on a CPU."
)


def read_details(folder: Path, detailed: bool) -> dict[str, float] | None:
    """Collect percentages from what stages wrote to the folder of a run; nan where there is none.

    With `detailed` also those of the stage robustness. None if a file, or AP, is missing.
    """
    metrics, errors = folder / "metrics.json", folder / "error_breakdown.json"
    corrupted = [folder / "robustness" / "metrics.json"] if detailed else []
    if not all(path.exists() for path in (metrics, errors, *corrupted)):
        return None
    scores = read_json(metrics)
    if not scores.has("ap"):
        return None
    kept = dict[str, float]()
    for path in corrupted:
        kept[KEPT] = percentages(read_json(path).child("relative"))["all"]
    losses = percentages(read_json(errors).child("all").child("pq_loss"))
    return {name: _percent(scores, *keys) for name, keys in SCORES.items()} | kept | losses


def _percent(entry: JsonObject, *keys: str) -> float:
    *parents, name = keys
    for parent in parents:
        entry = entry.child(parent)
    return percentages(entry)[name]


def details_section(details: Mapping[str, Sequence[Mapping[str, float]]], table: RowTable) -> Iterator[str]:
    """Render the details of all rows, by row and seed, scores and errors apart; nothing if there are none."""
    names = list(dict.fromkeys(name for found in details.values() for one in found for name in one))
    scores = [name for name in names if name in SCORES or name == KEPT]
    errors = [name for name in names if name not in scores]
    for title, explanation, columns in (
        ("## Other scores", f"{_SCORES} {_KEPT}" if KEPT in scores else _SCORES, scores),
        ("## Where the missing PQ goes", _ERRORS, errors),
    ):
        if columns:
            yield title
            yield explanation
            rows = [
                [table.rows[row].title, *(_summary(found, name) for name in columns)] for row, found in details.items()
            ]
            yield markdown_table(["row", *columns], rows)


def costs_section(costs: Mapping[str, Measurement], table: RowTable) -> Iterator[str]:
    """Render what a prediction costs; nothing if nothing was measured."""
    if costs:
        sizes = {f"{cost.width} x {cost.height} on {cost.device}" for cost in costs.values()}
        yield "## What a prediction costs"
        yield f"{_COSTS} {', '.join(sorted(sizes))}."
        rows = [
            [table.rows[row].title, f"{cost.median_ms:.1f}", f"{cost.p90_ms:.1f}", f"{cost.memory_mib:.0f}"]
            for row, cost in costs.items()
        ]
        yield markdown_table(["row", "ms, median", "ms, 90th percentile", "memory, MiB"], rows)


def _summary(found: Sequence[Mapping[str, float]], name: str) -> str:
    values = [one[name] for one in found if name in one and not math.isnan(one[name])]
    return mean_and_range(values) if values else "-"
