"""Details of a comparison's rows beside PQ: further scores, errors, robustness, and costs."""

import math
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.compare_models.rows import RowTable
from benchmarks.harness.results import mean_and_range
from benchmarks.harness.stages import percentages
from model.complexity.measure import Measurement
from panoptic.io.json_fields import JsonObject
from panoptic.markdown import markdown_table

_EXPLANATION = (
    "In percent, means over the seeds with the lowest and the highest in brackets. *PQ kept*: PQ under the corruptions"
    " of COCO-C as a part of PQ on the same images without them. The other columns split what is missing to 100 PQ by"
    " type of error (`panoptic.evaluation.error_breakdown`); before rounding they add up."
)

_COSTS = (
    "One image at a time through the network alone, with random weights, each in a process of its own; memory is the"
    " growth of the process on a CPU."
)


def details_of(metrics: JsonObject, errors: JsonObject, robustness: JsonObject) -> dict[str, float]:
    """Collect percentages from the JSON of the stages evaluate and robustness; nan where there is none."""
    return {
        "boundary PQ": percentages(metrics.child("boundary_pq"))["all"],
        "mask AP": percentages(metrics.child("ap").child("segm"))["AP"],
        "PQ kept": percentages(robustness.child("relative"))["all"],
        **percentages(errors.child("all").child("pq_loss")),
    }


def details_section(details: Mapping[str, Sequence[Mapping[str, float]]], table: RowTable) -> Iterator[str]:
    """Render the details of all rows, by row and seed; nothing if there are none."""
    names = list(dict.fromkeys(name for found in details.values() for one in found for name in one))
    if names:
        yield "## Other scores, and where the missing PQ goes"
        yield _EXPLANATION
        rows = [[table.rows[row].title, *(_summary(found, name) for name in names)] for row, found in details.items()]
        yield markdown_table(["row", *names], rows)


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
