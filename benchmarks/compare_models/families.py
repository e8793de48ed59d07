"""The rows of a comparison of network families: with equal steps, and with equal CPU seconds of training.

The CPU seconds of an optimizer step are measured before anything is trained, each family in a process of its own:

    echo '{"params": "params.yaml", "index": "train.index", "steps": 12}' | python -m benchmarks.compare_models.families
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from benchmarks.compare_models.rows import Claim, ComparedModel, RowTable
from benchmarks.compare_models.runs import ComparisonRuns
from benchmarks.harness.trainer import make_trainer
from model.complexity.measure import Measurement, Task, measure_apart
from model.inference.settings import InferenceSettings
from model.network.config import PANOPTIC_SEGFORMER, NetworkConfig
from model.network.families import build_network
from model.training.loop import batches_of_steps, optimize
from model.training.settings import TrainSettings
from panoptic.index import PanopticIndex
from panoptic.io.json_fields import read_json, write_json
from panoptic.runtime.cli import ending_with_this
from stages.settings import load_section

TIMED_STEPS, WARM_UP = 16, 4
IDENTITIES = "identities"
"""Key of the file of measured seconds under which it has what they depend on, by family."""
_MASK_WISE = Claim(
    "maskformer", "below", "mask-wise merging is better than the argmax for MaskFormer's masks as well (table 7)"
)
FAMILY_ROWS: Mapping[str, ComparedModel] = {
    PANOPTIC_SEGFORMER: ComparedModel("Panoptic SegFormer, version 2"),
    "detr": ComparedModel("DETR's panoptic head", "ablations/detr"),
    "d_detr_ms": ComparedModel("D-DETR-MS", "ablations/d_detr_ms"),
    "maskformer": ComparedModel("MaskFormer", "families/maskformer"),
    "mask2former": ComparedModel("Mask2Former", "families/mask2former"),
    "eomt": ComparedModel("EoMT", "families/eomt"),
}
_MERGED: Mapping[str, ComparedModel] = {
    "maskformer_p": ComparedModel(
        "MaskFormer's weights, merging p",
        "ablations/merging_p",
        "maskformer",
        claims=(_MASK_WISE,),
    ),
    "maskformer_p_star": ComparedModel(
        "MaskFormer's weights, merging p*",
        "ablations/merging_p_star",
        "maskformer",
        claims=(_MASK_WISE,),
    ),
}
"""Merging of table 7 of the paper, for the row with equal steps."""


def families_table(
    rows: Mapping[str, ComparedModel], steps: int, steps_per_epoch: int, seconds: Mapping[str, float]
) -> RowTable:
    """Make the rows of families.

    Args:
        rows: with equal steps, Panoptic SegFormer first.
        steps: of the rows with equal steps.
        steps_per_epoch: trainings end with whole epochs.
        seconds: CPU seconds of a step of each family.
    """
    timed = {}
    for name, model in rows.items():
        if name != PANOPTIC_SEGFORMER:
            epochs = max(1, round(steps * seconds[PANOPTIC_SEGFORMER] / seconds[name] / steps_per_epoch))
            own = epochs * steps_per_epoch
            title = f"{model.title}, equal CPU time: {own} steps"
            timed[f"{name}_equal_time"] = replace(model, title=title, steps=own)
    merged = {name: model for name, model in _MERGED.items() if model.weights_of in rows}
    title = "Network families, trained with one budget"
    return RowTable("families", title, {**rows, **timed, **merged}, detailed=True)


def family_runs(runs: ComparisonRuns, names: Sequence[str]) -> ComparisonRuns:
    """Make runs of Panoptic SegFormer and the named families; the seconds of their steps are measured once."""
    rows = {name: model for name, model in FAMILY_ROWS.items() if name == PANOPTIC_SEGFORMER or name in names}
    single = replace(runs, work=runs.work / "families", table=RowTable("families", "", rows, detailed=True))
    single.prepare(list(rows))
    measured = single.work / "annotate" / "seconds_of_step.json"
    params = {name: single.settings(name, 0) for name in rows}
    identities = {name: single.identity(file) for name, file in params.items()}
    known = known_seconds(measured, identities)
    if missing := {name: file for name, file in params.items() if name not in known}:
        print("measuring the CPU time of a step of each family")
        known |= measured_seconds(missing, single.index("train"))
        _add_seconds(measured, known, identities)
    return replace(single, table=families_table(rows, runs.steps, single.steps_per_epoch, known))


def known_seconds(measured: Path, identities: Mapping[str, str]) -> dict[str, float]:
    """Read the seconds that were measured before, of the families whose settings and data are still the same."""
    if not measured.exists():
        return {}
    found = read_json(measured)
    before = found.child(IDENTITIES).values if found.has(IDENTITIES) else {}
    return {name: found.number(name) for name, identity in identities.items() if before.get(name) == identity}


def _add_seconds(measured: Path, seconds: Mapping[str, float], identities: Mapping[str, str]) -> None:
    """Write seconds beside those of families that are not compared this time."""
    before = read_json(measured).values if measured.exists() else {}
    others = before.get(IDENTITIES)
    write_json(
        measured, {**before, **seconds, IDENTITIES: {**(others if isinstance(others, dict) else {}), **identities}}
    )


def measured_costs(runs: ComparisonRuns, rows: Sequence[str]) -> dict[str, Measurement]:
    """Measure a prediction of every network that is trained with the steps of the table, one after the other."""
    classes = PanopticIndex.load(runs.index("val")).categories
    costs = {}
    for row in rows:
        model = runs.table.rows[row]
        if model.steps is None and model.weights_of is None:
            params = runs.settings(row, 0)
            config = load_section(params, "model", NetworkConfig)
            predict = load_section(params, "predict", InferenceSettings)
            task = Task(config, len(classes.things), len(classes.stuff), predict.longer, predict.shorter, repeats=20)
            costs[row] = measure_apart(row, task)
    return costs


def measured_seconds(params: Mapping[str, Path], index: Path) -> dict[str, float]:
    """Measure the CPU seconds of an optimizer step of each family, whose settings are in `params`.

    Raises:
        ValueError: a family could not be trained; with its output.
    """
    seconds = {}
    for name in params:
        task = {"params": str(params[name]), "index": str(index), "steps": TIMED_STEPS}
        command = [sys.executable, "-m", "benchmarks.compare_models.families"]
        ended = subprocess.run(command, input=json.dumps(task), capture_output=True, text=True, env=ending_with_this())
        if ended.returncode:
            raise ValueError(f"{name} could not be trained for {TIMED_STEPS} steps: {ended.stderr.strip()[-500:]}")
        seconds[name] = float(ended.stdout)
    return seconds


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
