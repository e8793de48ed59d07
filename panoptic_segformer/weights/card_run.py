"""The parts of a model card that a passport tells: data and training."""

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from model.weights.official.released import RELEASED
from panoptic.io.json_fields import JsonObject
from panoptic.markdown import markdown_table
from panoptic.passport.document import Passport
from panoptic_segformer.weights.bundle import Bundle

_UNKNOWN = "unknown"
_SETTINGS = {
    "epochs": "epochs",
    "batch_size": "images per step",
    "optimizer": "optimizer",
    "learning_rate": "learning rate",
    "schedule": "schedule",
    "weight_decay": "weight decay",
    "ema_decay": "decay of the moving average (EMA)",
    "precision": "precision",
    "seed": "seed",
}
"""Settings of training that are shown, and their titles."""


def dataset_of(bundle: Bundle) -> str:
    """Name the dataset that weights were trained on."""
    if bundle.passport:
        name = bundle.passport.section("settings").values.get("dataset.name")
        return str(name or _UNKNOWN)
    return "coco" if _released(bundle) else _UNKNOWN


def _released(bundle: Bundle) -> str:
    source = bundle.checkpoint.provenance.get("source")
    return next((name for name, row in RELEASED.items() if row.name == source), "")


def describe_data(bundle: Bundle) -> Iterator[str]:
    """Yield the name of the dataset, and digests and numbers of images of its splits."""
    if bundle.passport is None:
        yield _without_passport(bundle)
        return
    data, splits = bundle.passport.section("data"), bundle.passport.section("splits")
    yield f"Dataset `{dataset_of(bundle)}`. What training and validation read, with SHA-256 digests:"
    rows = [
        [name, PurePosixPath(part.text("path")).name, str(part.integer("files")), f"`{part.text('sha256')[:16]}`"]
        for name in data.values
        for part in [data.child(name)]
    ]
    yield markdown_table(["", "name", "files", "SHA-256 begins with"], rows, 2)
    counts = {name: splits.child(name).integer("images") for name in ("train", "val")}
    shared = splits.integer("shared_images")
    both = f"{shared} images are in both" if shared else "no image is in both"
    yield f"{counts['train']} images for training and {counts['val']} for validation; {both}."


def _without_passport(bundle: Bundle) -> str:
    if name := _released(bundle):
        row = RELEASED[name]
        return (
            f"The authors trained it on COCO 2017. It was converted, number by number, from their checkpoint "
            f"[{row.name}]({row.address}), SHA-256 `{bundle.checkpoint.provenance.get('sha256')}`. Their paper reports "
            f"PQ {row.pq} on val2017."
        )
    source = bundle.checkpoint.provenance.get("source")
    return f"Not known: these weights were converted from `{source}`." if source else "Not known: there is no passport."


def describe_training(bundle: Bundle) -> Iterator[str]:
    """Yield settings, length and machine of the training."""
    if bundle.passport is None:
        yield "Not known." if not _released(bundle) else "By the authors: 12 (`1x`) or 24 (`2x`) epochs of COCO."
        return
    training = bundle.passport.section("training")
    rows = [["steps", str(training.integer("steps"))]]
    rows += [[title, value] for title, value in _settings(bundle.passport, bundle.checkpoint.provenance)]
    rows.append(["initial weights", training.child("initial_weights").text("said")])
    yield markdown_table(["setting", "value"], rows, 2)
    yield f"{_machine(bundle.passport.section('machine'))} {_code(bundle.passport)}"


def _settings(passport: Passport, provenance: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The settings that are shown, as the weights record them, defaults included."""
    recorded = JsonObject.of(json.loads(provenance.get("settings", "{}")), passport.where).values
    for name, title in _SETTINGS.items():
        value = recorded.get(name, passport.section("settings").values.get(f"train.{name}"))
        if value is not None:
            yield title, str(value)


def _machine(machine: JsonObject) -> str:
    libraries = machine.child("libraries")
    versions = ", ".join(
        f"{name} {libraries.values[name]}" for name in ("torch", "transformers") if libraries.has(name)
    )
    processes = machine.integer("processes")
    many = "one process" if processes == 1 else f"{processes} processes"
    return f"On `{machine.values.get('device')}` ({machine.values.get('processor')}) in {many}, with {versions}."


def _code(passport: Passport) -> str:
    code = passport.section("code")
    changed = " with uncommitted changes" if code.child("diff").integer("bytes") else ""
    return f"Code: commit `{code.values.get('commit')}`{changed}. All settings are in the passport."
