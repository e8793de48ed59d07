"""The plan of a run: what its stages read, compute and write, with the origin of each number."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.plan.dataset import DRAWN, Recipe, find_dataset
from benchmarks.plan.estimate import PlannedWork, disk_rows
from benchmarks.plan.measure import Costs, measure_apart
from benchmarks.plan.report import PlanRow, counted
from panoptic.runtime.parallel import count_processes

MEMORY, TIME = "memory", "time"


def make_plan(recipe: Recipe, annotated: Path, measured_steps: int) -> tuple[PlanRow, ...]:
    """Count, and measure on this machine unless `measured_steps` is 0; `annotated` is `annotate`'s folder.

    Raises:
        DatasetError: nothing is known of the dataset.
        MeasurementError: a step cannot be run.
    """
    work = PlannedWork(recipe, find_dataset(recipe, annotated))
    rows = (*work.rows(), *disk_rows(recipe, work.dataset, work.corrupted))
    if not measured_steps:
        return rows
    costs = measure_apart(recipe, work.dataset, measured_steps)
    return (*rows, *memory_rows(costs), *time_rows(work, costs))


def memory_rows(costs: Costs) -> Iterator[PlanRow]:
    """Yield the rows about memory."""
    height, width = costs.step.largest_size
    how = f"peak of a process, measured with the largest of {DRAWN} forward passes, {width} x {height}"
    yield PlanRow(MEMORY, "training", costs.step.bytes, "bytes", how)
    yield PlanRow(
        MEMORY,
        "prediction",
        costs.predict_bytes,
        "bytes",
        "measured: network and merging, with random weights, which find little",
    )
    yield PlanRow(MEMORY, "available", costs.device_bytes, "bytes", costs.device)


def time_rows(work: PlannedWork, costs: Costs) -> Iterator[PlanRow]:
    """Yield the rows about time."""
    yield from _step_rows(costs)
    step, how = _step_seconds(work, costs)
    yield PlanRow(TIME, "a step", step, "seconds", how)
    count, workers = work.dataset.val.count, count_processes(work.recipe.corrupt.workers)
    predict = costs.read_seconds + costs.predict_seconds + costs.write_map_seconds
    robust = costs.read_seconds + costs.predict_seconds + costs.score_seconds
    corrupting, scoring = costs.corrupt_seconds / max(workers, 1), robust
    rows = [
        PlanRow(TIME, "training", work.steps * step, "seconds", f"{work.steps} steps"),
        PlanRow(
            TIME,
            "validations",
            work.validations * count * (predict + costs.score_seconds),
            "seconds",
            f"{work.validations} times {count} images, by the first process while the others wait",
        ),
        PlanRow(
            TIME,
            "predict",
            count * (predict + costs.write_instances_seconds),
            "seconds",
            f"{count} images: reading, network, merging, PNGs, RLEs",
        ),
        PlanRow(
            TIME, "evaluate", count * costs.score_seconds, "seconds", "PQ and boundary PQ; without AP and intervals"
        ),
        PlanRow(
            TIME,
            "robustness",
            work.corrupted * (max(corrupting, scoring) if workers else corrupting + scoring),
            "seconds",
            f"{work.corrupted} images: corrupting by {workers} workers, network, merging, PQ",
        ),
    ]
    yield from rows
    how = f"at the current speed of this machine ({costs.device}); downloading and annotating not counted"
    yield PlanRow(TIME, "total", sum(row.value for row in rows), "seconds", how)


def _step_rows(costs: Costs) -> Iterator[PlanRow]:
    step = costs.step
    for name, (height, width), seconds in (
        ("a typical forward and backward pass", step.typical_size, step.typical_seconds),
        ("the largest", step.largest_size, step.largest_seconds),
    ):
        how = f"measured, {width} x {height} with its padding"
        if seconds > step.largest_seconds:
            how += "; disturbed by other work: plan again on a quiet machine"
        yield PlanRow(TIME, name, seconds, "seconds", how)
    yield PlanRow(TIME, "the optimizer", step.optimizer_seconds, "seconds", "measured, once per step")
    yield PlanRow(
        TIME, "reading an image", costs.read_to_train_seconds, "seconds", "measured: decoding and augmentation"
    )
    yield PlanRow(TIME, "predicting an image", costs.predict_seconds, "seconds", "measured: network and merging")
    yield PlanRow(TIME, "scoring an image", costs.score_seconds, "seconds", "measured")
    yield PlanRow(TIME, "corrupting an image", costs.corrupt_seconds, "seconds", "measured, mean over the corruptions")


def _step_seconds(work: PlannedWork, costs: Costs) -> tuple[float, str]:
    """Return the seconds of a step, and its bottleneck: computing, or reading where the workers cannot keep up."""
    recipe = work.recipe
    computing = recipe.micro_batches * costs.step.mean_seconds + costs.step.optimizer_seconds
    images, workers = recipe.micro_batches * recipe.train.images_per_forward, recipe.train.workers
    reading = images * costs.read_to_train_seconds / max(workers, 1)
    if not workers:
        return computing + reading, "reading, then computing, in one process"
    if reading > computing:
        return reading, f"limited by the {workers} reading workers of each process; raise train.workers"
    how = f"{counted(recipe.micro_batches, 'pass', 'es')} of mean size, and the optimizer"
    if recipe.processes > 1:
        how += f"; {recipe.processes} processes, each as fast as this one alone, communication not counted"
    return computing, how
