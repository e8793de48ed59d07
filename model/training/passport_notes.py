"""What a training says for the passport of its weights, to the program that writes it (`panoptic.passport`).

That is a program of its own, so that a change to passports never makes trained weights out of date.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from model.device import pick_device
from model.ops.backends import describe_rounding
from model.training.distributed.stopping import shielded
from model.training.loop import TrainingRun
from panoptic.runtime.cli import ending_with_this


@dataclass(frozen=True)
class TrainingFiles:
    """The files that a training reads and writes; `initial_weights` is None for random ones."""

    params: Path
    train_index: Path
    val_index: Path
    model: Path
    initial_weights: Path | None


def begin_passport(run: TrainingRun) -> None:
    """Note the code that a run begins with, before it may change, and the time."""
    _run({"action": "begin", "state": run.state_file.parent})


def finish_passport(run: TrainingRun, files: TrainingFiles, start: str) -> None:
    """Have the passport of finished weights written beside them; `start` describes the initial ones."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    task = {
        "action": "finish",
        "state": run.state_file.parent,
        "curves": run.curves,
        **asdict(files),
        "start": start,
        "steps": run.steps,
        "cpu_seconds": sum(usage.ru_utime + usage.ru_stime for usage in used),
        "facts": {**describe_rounding(pick_device()), "processes": run.processes.world_size},
    }
    _run(task)


def _run(task: Mapping[str, object]) -> None:
    command = [sys.executable, "-m", "panoptic.passport"]
    with shielded():
        given = json.dumps(task, default=str)
        done = subprocess.run(command, input=given, capture_output=True, text=True, env=ending_with_this())
    if done.returncode:
        said = done.stderr.strip() or f"panoptic.passport ended with status {done.returncode}, silently"
        raise ValueError(f"the passport could not be written: {said.removeprefix('error: ')}")
