"""Rows that are trained with equal CPU time instead of equal steps.

The CPU seconds of an optimizer step are measured before anything is trained, each network in a process of its own:

    echo '{"params": "params.yaml", "index": "train.index", "steps": 16}' | python -m benchmarks.compare_models.budgets
"""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.compare_models.rows import ComparedModel, RowTable
from benchmarks.compare_models.runs import ComparisonRuns, read_note
from benchmarks.harness.trainer import make_trainer
from model.complexity.apart import ApartError, run_apart
from model.network.config import NetworkConfig
from model.network.families import build_network
from model.training.loop import batches_of_steps, optimize
from model.training.settings import TrainSettings
from panoptic.index import PanopticIndex
from panoptic.io.json_fields import write_json
from stages.settings import load_section

TIMED_STEPS, WARM_UP, ROUNDS = 16, 4, 3
EQUAL_TIME = "_equal_time"
"""Ending of the names of rows that are trained with the CPU time of the first row."""
IDENTITIES = "identities"
"""Key of the file of measured seconds under which it has what they depend on, by row."""


def with_equal_time(runs: ComparisonRuns, keep_equal_steps: bool) -> ComparisonRuns:
    """Give each row but the first the CPU time of the first one; the seconds of a step are measured once.

    Args:
        runs: whose rows have equal steps.
        keep_equal_steps: keep these rows, and add others only where the number of whole epochs differs.
    """
    table = runs.table
    trained = [name for name, row in table.rows.items() if row.weights_of is None]
    runs.prepare(trained)
    measured = runs.work / "annotate" / "seconds_of_step.json"
    params = {name: runs.settings(name, 0) for name in trained}
    identities = {name: runs.identity(file) for name, file in params.items()}
    seconds = known_seconds(measured, identities)
    if not seconds:
        print("measuring the CPU time of a training step of each row")
        seconds = _measured_seconds(params, runs.index("train"))
        write_json(measured, {**seconds, IDENTITIES: identities})
    first, *others = trained
    steps = {name: _whole_epochs(runs.steps * seconds[first] / seconds[name], runs.steps_per_epoch) for name in others}
    if keep_equal_steps:
        timed = equal_time_table(table, {name: number for name, number in steps.items() if number != runs.steps})
    else:
        timed = equal_time_alone(table, steps)
    step_seconds = seconds | {name + EQUAL_TIME: seconds[name] for name in others}
    return replace(runs, table=timed, step_seconds=step_seconds)


def equal_time_table(table: RowTable, steps: Mapping[str, int]) -> RowTable:
    """Add a row for each that has a number of steps which take the CPU time of the first row."""
    timed = {
        name + EQUAL_TIME: replace(table.rows[name], title=f"{table.rows[name].title}, equal CPU time", steps=number)
        for name, number in steps.items()
    }
    return replace(table, rows={**table.rows, **timed})


def equal_time_alone(table: RowTable, steps: Mapping[str, int]) -> RowTable:
    """Keep the first row, those with the CPU time that it takes, and those with the weights of any of these."""
    first = next(iter(table.rows))
    rows = dict[str, ComparedModel]()
    for name, row in equal_time_table(table, steps).rows.items():
        if name == first or row.steps or row.weights_of == first:
            rows[name] = row
        elif row.weights_of in steps:
            others = tuple(other + EQUAL_TIME if other in steps else other for other in row.others)
            rows[name] = replace(row, weights_of=f"{row.weights_of}{EQUAL_TIME}", others=others)
    return replace(table, rows=rows)


def _whole_epochs(steps: float, steps_per_epoch: int) -> int:
    return max(1, round(steps / steps_per_epoch)) * steps_per_epoch


def known_seconds(measured: Path, identities: Mapping[str, str]) -> dict[str, float]:
    """Read the seconds that were measured before; empty if a row lacks them or has other settings or data now."""
    found = read_note(measured)
    before = found.child(IDENTITIES).values if found.has(IDENTITIES) else {}
    if any(before.get(name) != identity for name, identity in identities.items()):
        return {}
    return {name: found.number(name) for name in identities}


def _measured_seconds(params: Mapping[str, Path], index: Path) -> dict[str, float]:
    """Measure the CPU seconds of an optimizer step of each row, whose settings are in `params`.

    What else the machine does raises CPU time too, so rows take turns, and the median of a row's ratios to the first
    row in the same round counts.

    Raises:
        ValueError: a row could not be trained; with its output.
    """
    rounds = [{name: _seconds_apart(name, params[name], index) for name in params} for _ in range(ROUNDS)]
    first = next(iter(params))
    unit = median(seconds[first] for seconds in rounds)
    return {name: unit * median(seconds[name] / seconds[first] for seconds in rounds) for name in params}


def _seconds_apart(name: str, params: Path, index: Path) -> float:
    task = {"params": str(params), "index": str(index), "steps": TIMED_STEPS}
    try:
        return float(run_apart("benchmarks.compare_models.budgets", task))
    except ApartError as error:
        raise ValueError(f"{name} could not be trained for {TIMED_STEPS} steps: {error}") from None


def seconds_of_step(params: Path, index: PanopticIndex, steps: int) -> float:
    """Measure the median CPU seconds of a step, its images loaded in this process, after a few that do not count."""
    config = load_section(params, "model", NetworkConfig)
    settings = replace(load_section(params, "train", TrainSettings), workers=0, epochs=steps, step_epochs=[])
    torch.manual_seed(0)
    network = build_network(config, len(index.categories.things), len(index.categories.stuff))
    run, state = make_trainer(network, index, settings)
    seconds = []
    with batches_of_steps(run, 0) as batches:
        for step in islice(batches, steps):
            started = time.process_time()
            optimize(run, state, [batch.to(torch.device("cpu")) for batch in step])
            state.step += 1
            seconds.append(time.process_time() - started)
    return float(np.median(seconds[WARM_UP:]))


def main() -> None:
    """Read a task as JSON, write the seconds."""
    task = json.load(sys.stdin)
    print(seconds_of_step(Path(task["params"]), PanopticIndex.load(Path(task["index"])), int(task["steps"])))


if __name__ == "__main__":
    main()
