"""Measure what a prediction of a comparison's networks costs."""

from collections.abc import Sequence

from benchmarks.compare_models.budgets import EQUAL_TIME
from benchmarks.compare_models.runs import ComparisonRuns
from model.complexity.measure import Measurement, Task, measure_apart
from model.inference.settings import InferenceSettings
from model.network.config import NetworkConfig
from panoptic.index import PanopticIndex
from stages.settings import load_section


def measured_costs(runs: ComparisonRuns, rows: Sequence[str]) -> dict[str, Measurement]:
    """Measure a prediction of every network, one after the other; rows that differ in their training are one."""
    classes = PanopticIndex.load(runs.index("val")).categories
    costs = {}
    for row in rows:
        is_same = row.endswith(EQUAL_TIME) and row.removesuffix(EQUAL_TIME) in rows
        if not is_same and runs.table.rows[row].weights_of is None:
            params = runs.settings(row, 0)
            config = load_section(params, "model", NetworkConfig)
            predict = load_section(params, "predict", InferenceSettings)
            task = Task(config, len(classes.things), len(classes.stuff), predict.longer, predict.shorter, repeats=20)
            costs[row] = measure_apart(row, task)
    return costs
