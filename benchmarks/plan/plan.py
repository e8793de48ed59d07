"""The plan of a run: what its stages would read, compute and write, with how each number comes about."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.plan.dataset import DRAWN, Recipe, find_dataset
from benchmarks.plan.estimate import Work, disk_rows
from benchmarks.plan.measure import Costs, measure_apart
from benchmarks.plan.report import Row, counted

MEMORY, TIME = "memory", "time"


def make_plan(recipe: Recipe, annotated: Path, measured_steps: int) -> tuple[Row, ...]:
    """Count, and with `measured_steps` of at least 1 measure on this machine; `annotated` is `annotate`'s folder.

    Raises `DatasetError` where nothing is known of the dataset, `MeasurementError` for a step that cannot be run.
    """
    work = Work(recipe, find_dataset(recipe, annotated))
    rows = (*work.rows(), *disk_rows(recipe, work.dataset, work.corrupted))
    if not measured_steps:
        return rows
    costs = measure_apart(recipe, work.dataset, measured_steps)
    return (*rows, *memory_rows(costs), *time_rows(work, costs))


def memory_rows(costs: Costs) -> Iterator[Row]:
    """The lines of the plan about memory."""
    height, width = costs.step.largest_size
    how = f"of a process at the peak, measured with the largest of {DRAWN} forward passes, {width} x {height}"
    yield Row(MEMORY, "training", costs.step.bytes, "bytes", how)
    yield Row(
        MEMORY,
        "prediction",
        costs.predict_bytes,
        "bytes",
        "measured: network and merging, at random weights, which find little",
    )
    yield Row(MEMORY, "there is", costs.device_bytes, "bytes", costs.device)


def time_rows(work: Work, costs: Costs) -> Iterator[Row]:
    """The lines of the plan about time."""
    yield from _step_rows(costs)
    step, how = _step_seconds(work, costs)
    yield Row(TIME, "a step", step, "seconds", how)
    count, corrupt = work.dataset.val.count, work.recipe.corrupt
    predict = costs.read_seconds + costs.predict_seconds + costs.write_map_seconds
    robust = costs.read_seconds + costs.predict_seconds + costs.score_seconds
    ahead, behind = costs.corrupt_seconds / max(corrupt.workers, 1), robust
    rows = [
        Row(TIME, "training", work.steps * step, "seconds", f"{work.steps} steps"),
        Row(
            TIME,
            "validations",
            work.validations * count * (predict + costs.score_seconds),
            "seconds",
            f"{work.validations} times {count} images, by the first process while others wait",
        ),
        Row(
            TIME,
            "predict",
            count * (predict + costs.write_instances_seconds),
            "seconds",
            f"{count} images: reading, network, merging, PNGs, mask codes",
        ),
        Row(TIME, "evaluate", count * costs.score_seconds, "seconds", "PQ and boundary PQ; without AP and intervals"),
        Row(
            TIME,
            "robustness",
            work.corrupted * (max(ahead, behind) if corrupt.workers else ahead + behind),
            "seconds",
            f"{work.corrupted} images: corrupting by {corrupt.workers} workers, network, merging, PQ",
        ),
    ]
    yield from rows
    how = f"at the pace of this machine as it is now ({costs.device}); fetching and annotating not counted"
    yield Row(TIME, "in all", sum(row.value for row in rows), "seconds", how)


def _step_rows(costs: Costs) -> Iterator[Row]:
    step = costs.step
    for name, (height, width), seconds in (
        ("a typical forward and backward pass", step.typical_size, step.typical_seconds),
        ("the largest", step.largest_size, step.largest_seconds),
    ):
        how = f"measured, {width} x {height} with its padding"
        if seconds > step.largest_seconds:
            how += "; other work disturbed it: plan again on a quiet machine"
        yield Row(TIME, name, seconds, "seconds", how)
    yield Row(TIME, "the optimizer", step.optimizer_seconds, "seconds", "measured, once a step")
    yield Row(TIME, "reading an image", costs.read_to_train_seconds, "seconds", "measured: decoding and augmentation")
    yield Row(TIME, "predicting an image", costs.predict_seconds, "seconds", "measured: network and merging")
    yield Row(TIME, "scoring an image", costs.score_seconds, "seconds", "measured")
    yield Row(TIME, "corrupting an image", costs.corrupt_seconds, "seconds", "measured, mean over the corruptions")


def _step_seconds(work: Work, costs: Costs) -> tuple[float, str]:
    """Of a step of all processes, and what decides it: computing, or reading where the workers cannot keep up."""
    recipe = work.recipe
    computing = recipe.forwards * costs.step.mean_seconds + costs.step.optimizer_seconds
    images, workers = recipe.forwards * recipe.train.images_per_forward, recipe.train.workers
    reading = images * costs.read_to_train_seconds / max(workers, 1)
    if not workers:
        return computing + reading, "computing after reading, in one process"
    if reading > computing:
        return reading, f"the {workers} workers of each process cannot read faster; raise train.workers"
    how = f"{counted(recipe.forwards, 'pass', 'es')} of mean size, and the optimizer"
    if recipe.processes > 1:
        how += f"; {recipe.processes} processes, each as fast as this one alone, sums between them not counted"
    return computing, how
