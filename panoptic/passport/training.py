"""The passport of trained weights, from what the training left in the folder of its state.

A training runs in sessions: it may be stopped or killed, and resumed. Each session notes its start. When the next one
begins, the time of the last saved state ends the one before, because what was done after that is done again.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from panoptic.io.json_fields import JsonObject, load_json, read_json, write_json
from panoptic.passport.digests import SplitDigest, digest_of, digest_split
from panoptic.passport.document import seal, write_passport
from panoptic.passport.machine import describe_machine, energy_between, read_counters
from panoptic.passport.origin import describe_code
from panoptic.runtime.fingerprint import PROJECT
from panoptic.runtime.settings import read_values

BEGUN = "begun.json"
"""In the folder of the state: sessions, and the code that the run began with."""
FIRST_STEPS = "first_steps.json"
"""In the same folder, by the training: digests of the weights after the first steps."""


@dataclass(frozen=True)
class Finished:
    """What the training says at its end; `facts` are those of `describe_machine`, `cpu_seconds` are of this session."""

    state: Path
    params: Path
    train_index: Path
    val_index: Path
    model: Path
    curves: Path
    initial_weights: Path | None
    start: str
    steps: int
    cpu_seconds: float
    facts: Mapping[str, object]

    @classmethod
    def from_json(cls, document: JsonObject) -> "Finished":
        """The form in which the training writes it to this program's input."""
        state, params, train_index, val_index, model, curves = (Path(document.text(name)) for name in _PATHS)
        return cls(
            *(state, params, train_index, val_index, model, curves),
            initial_weights=Path(document.text("initial_weights")) if document.has("initial_weights") else None,
            start=document.text("start"),
            steps=document.integer("steps"),
            cpu_seconds=document.number("cpu_seconds"),
            facts=document.child("facts").values,
        )


_PATHS = ("state", "params", "train_index", "val_index", "model", "curves")


def passport_path(weights: Path) -> Path:
    """The passport that belongs to a weight file."""
    return weights.with_suffix(".passport.json")


def begin(state: Path) -> None:
    """Note the code that a run begins with, and that a session begins now."""
    note = state / BEGUN
    if note.is_file():
        begun = read_json(note)
        code, sessions = begun.child("code").values, [dict(session.values) for session in begun.objects("sessions")]
        saved = state / "state.pt"
        if sessions[-1]["wall_seconds"] is None and saved.is_file():
            sessions[-1]["wall_seconds"] = round(max(0.0, saved.stat().st_mtime - float(str(sessions[-1]["begun"]))), 1)
    else:
        files = read_json(state / "identity.json").child("code")
        code, sessions = describe_code(PROJECT, {name: files.text(name) for name in files.values}), []
    session = {"begun": round(time.time(), 1), "wall_seconds": None, "cpu_seconds": None, "energy": None}
    sessions.append({**session, "counters": read_counters()})
    write_json(note, {"code": code, "sessions": sessions})


def finish(training: Finished) -> None:
    """Write the passport of the weights beside them."""
    out = passport_path(training.model)
    begun = read_json(training.state / BEGUN)
    splits = {"train": digest_split(training.train_index), "val": digest_split(training.val_index)}
    sections = {
        "files": _files(training, out.parent),
        "data": {name: value for split, found in splits.items() for name, value in found.data(split).items()},
        "splits": describe_splits(splits),
        "code": begun.child("code").values,
        "machine": describe_machine(training.facts),
        "settings": read_values(training.params),
        "training": {
            "steps": training.steps,
            "initial_weights": _initial_weights(training),
            "first_steps": load_json(steps) if (steps := training.state / FIRST_STEPS).is_file() else {},
        },
        "usage": _usage(list(begun.objects("sessions")), training.cpu_seconds),
    }
    write_passport(out, seal("weights", sections))


def describe_splits(splits: Mapping[str, SplitDigest]) -> dict[str, object]:
    """The ids of each split, and how many images of one are also in the other."""
    return {
        **{name: split.identifiers() for name, split in splits.items()},
        "shared_images": len(splits["train"].contents & splits["val"].contents),
    }


def described_files(files: Mapping[str, Path], folder: Path) -> dict[str, object]:
    """The path of each existing file or folder relative to that of the passport, and its digest, by what it is."""
    return {
        name: {"path": Path(os.path.relpath(path, folder)).as_posix(), "sha256": digest_of(path)}
        for name, path in files.items()
        if path.exists()
    }


def _files(training: Finished, folder: Path) -> dict[str, object]:
    names = {"loss curve": "loss.csv", "quality curve": "quality.csv", "metrics": "metrics.json"}
    files = {"weights": training.model, "description": training.model.with_suffix(".json")}
    return described_files(files | {what: training.curves / name for what, name in names.items()}, folder)


def _initial_weights(training: Finished) -> dict[str, object]:
    path = training.initial_weights
    return {"said": training.start, "path": path and path.as_posix(), "sha256": digest_of(path) if path else None}


def _usage(sessions: Sequence[JsonObject], cpu_seconds: float) -> dict[str, object]:
    """Time and energy of every session; CPU time and energy of those that were stopped are not known."""
    last = sessions[-1]
    wall = round(time.time() - last.number("begun"), 1)
    counters = last.child("counters")
    before = {name: counters.number(name) for name in counters.values}
    energy = energy_between(before, read_counters(), wall)
    known = {"wall_seconds": wall, "cpu_seconds": round(cpu_seconds, 1), "energy": energy}
    described = [{**session.values, **(known if session is last else {})} for session in sessions]
    for session in described:
        del session["counters"]
    return {"sessions": described, "cpu": "the main process and its children"}
