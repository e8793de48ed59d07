"""Tamperings with a run by their names, and the check of `model.verify` that must find each.

The table in docs/trust.md is this one.
"""

import csv
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from model.training.sampling import epoch_plan
from panoptic.format.id_map import decode_id_map, encode_id_map
from panoptic.index import PanopticIndex
from panoptic.passport.digests import describe_ids
from panoptic.passport.document import read_passport, seal, write_passport
from tests.model.verify.forgery import Change, Forgery, Json

Tampering = Callable[[Forgery], None]
WEIGHTS, WEIGHTS_PASSPORT = "train/model.safetensors", "train/model.passport.json"


def editing(name: str, change: Change) -> Tampering:
    """Change a JSON file."""
    return lambda run: run.edit(name, change)


def editing_sections(change: Change) -> Tampering:
    """Change sections of the weights' passport, and leave its chain."""
    return lambda run: run.edit_sections(change)


def taking(*names: str) -> Tampering:
    """Replace files by those of another run."""
    return lambda run: run.take(*names)


def resealed(tamper: Tampering, scored: bool = False, data: bool = False) -> Tampering:
    """Compute all digests and chains anew after it, so that only repeated work can find it.

    `scored`: also evaluate the predictions, so that all scores fit them; `data`: also digest the dataset anew.
    """

    def both(run: Forgery) -> None:
        tamper(run)
        if scored:
            run.score_again()
        with chdir(run.folder):
            run.reseal(data=data)

    return both


def setting(name: str, value: object) -> Tampering:
    """Change a setting of the training everywhere that it is written."""

    def change_description(document: Json) -> None:
        settings = json.loads(document["provenance"]["settings"])
        document["provenance"]["settings"] = json.dumps(settings | {name: value})

    def change(sections: Json) -> None:
        sections["settings"][f"train.{name}"] = value

    def tamper(run: Forgery) -> None:
        run.edit("train/model.json", change_description)
        run.reseal(change, change)

    return tamper


def swap_names(document: Json) -> None:
    one, two = document["categories"][:2]
    one["name"], two["name"] = two["name"], one["name"]


def add_match(images: Json) -> None:
    next(iter(images.values()))["iou_sum"] += 0.5


def change_class(document: Json) -> None:
    segments = [segment for entry in document["annotations"] for segment in entry["segments_info"]]
    ids = sorted(category["id"] for category in document["categories"])
    segments[0]["category_id"] = next(other for other in ids if other != segments[0]["category_id"])


def change_lock(sections: Json) -> None:
    sections["code"]["lock"]["sha256"] = "0" * 64


def drop_diff(sections: Json) -> None:
    sections["code"]["diff"] = {"bytes": 0, "sha256": "0" * 64, "zlib": None}


def shorten_time(sections: Json) -> None:
    sections["usage"]["sessions"][0]["wall_seconds"] = 1.0


def loss_curve(run: Forgery) -> None:
    path = run.runs / "train/loss.csv"
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    rows[-1]["total"] = "0.1"
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue())


def predicted_png(run: Forgery) -> None:
    """Enlarge a predicted segment by a block of pixels."""
    path = max((run.runs / "predict/panoptic").iterdir(), key=lambda file: decode_id_map(file.read_bytes(), "").any())
    ids = decode_id_map(path.read_bytes(), path.name)
    ids[:8, :8] = np.max(ids)
    path.write_bytes(encode_id_map(ids))


def training_image(run: Forgery) -> None:
    """Invert an image of the first step."""
    with chdir(run.folder):
        index = PanopticIndex.load(Path("runs/annotate/train.index"))
        record = index.records[int(epoch_plan(index.records, 4, 0, 0)[0][0])]
    path = run.folder / "datasets/part/train" / record.file_name
    image = cv2.imread(str(path))
    assert image is not None
    cv2.imwrite(str(path), 255 - image)


def validation_mask(run: Forgery) -> None:
    masks = sorted((run.folder / "datasets/part/annotations/panoptic_val").iterdir())
    shutil.copyfile(masks[1], masks[0])


def leak_of_the_validation_split(run: Forgery) -> None:
    val, train = (min((run.folder / "datasets/part" / split).iterdir()) for split in ("val", "train"))
    shutil.copyfile(val, train)


def archive_in_place_of_a_folder(run: Forgery) -> None:
    images = run.folder / "datasets/part/val"
    with zipfile.ZipFile(images.with_suffix(".zip"), "w") as archive:
        for path in sorted(images.iterdir()):
            archive.write(path, path.name)
    shutil.rmtree(images)


def parent_of_another_run(run: Forgery) -> None:
    of_weights, of_results = read_passport(run.other / "runs" / WEIGHTS_PASSPORT), read_passport(run.passports[1])
    write_passport(run.passports[1], seal("results", of_results.sections, of_weights))


def signature_by_another_key(run: Forgery) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PANOPTIC_KEY", str(run.keys / "foreign"))
        run.reseal()


def signature_of_another_passport(run: Forgery) -> None:
    run.reseal(shorten_time)
    signed = json.loads((run.repository / "runs" / WEIGHTS_PASSPORT).read_text())["signature"]
    run.edit(WEIGHTS_PASSPORT, lambda passport: passport.update(signature=signed))
    run.edit("passport.json", lambda passport: passport["parent"].update(signature=signed))


def network_in_place_of_its_average(run: Forgery) -> None:
    path, noise = run.runs / WEIGHTS, torch.Generator().manual_seed(0)
    changed = {
        name: value + 0.01 * torch.randn(value.shape, generator=noise) if value.is_floating_point() else value
        for name, value in load_file(path).items()
    }
    save_file(changed, path)


def results_of_another_run(run: Forgery) -> None:
    folders = [(run.other / "runs" / name).iterdir() for name in ("evaluate", "predict/panoptic")]
    names = [path.relative_to(run.other / "runs").as_posix() for files in folders for path in files]
    run.take(*names, "predict/panoptic.json", "predict/instances.json")


def first_steps_of_another_run(run: Forgery) -> None:
    steps = read_passport(run.other / "runs" / WEIGHTS_PASSPORT).sections["training"]
    run.reseal(lambda sections: sections.update(training=steps))


def number_of_steps(run: Forgery) -> None:
    setting("epochs", 50)(run)
    run.edit("train/model.json", lambda document: document["provenance"].update(steps="200"))
    run.reseal(lambda sections: sections["training"].update(steps=200))


def commit(run: Forgery) -> None:
    def change(sections: Json) -> None:
        sections["code"]["commit"] = run.earlier_commit

    run.reseal(change, change)


def list_of_ids(run: Forgery) -> None:
    run.reseal(lambda sections: sections["splits"]["val"].update(zlib=describe_ids([1, 2, 3])["zlib"]))


class_names = editing("train/model.json", swap_names)
metric = editing("evaluate/metrics.json", lambda metrics: metrics["pq"].update(all=0.9))
interval = editing("evaluate/metrics.json", lambda metrics: metrics["intervals"]["pq"]["all"].update(low=0.0))
score_of_one_image = editing("evaluate/per_image.json", add_match)
predicted_instances = editing("predict/instances.json", lambda results: results[0].update(score=0.99))
FOUND_BY: dict[str, dict[str, Tampering]] = {
    "files of the weights": {
        "a_bit_of_the_weights": lambda run: run.flip(f"runs/{WEIGHTS}"),
        "weights_of_another_run": taking(WEIGHTS),
        "network_settings_beside_the_weights": editing(
            "train/model.json", lambda document: document["model"].update(dropout=0.5)
        ),
        "names_of_two_classes": class_names,
        "loss_curve": loss_curve,
    },
    "files of the results": {
        "metric": metric,
        "interval": interval,
        "score_of_one_image": score_of_one_image,
        "predicted_png": predicted_png,
        "predicted_class": editing("predict/panoptic.json", change_class),
        "predicted_instances": predicted_instances,
    },
    "train data": {
        "index": lambda run: run.flip("runs/annotate/train.index"),
        "training_image": training_image,
    },
    "val data": {
        "validation_mask": validation_mask,
        "archive_in_place_of_a_folder": archive_in_place_of_a_folder,
    },
    "chain of the weights": {
        "setting": editing_sections(lambda sections: sections["settings"].update({"train.learning_rate": 1e-3})),
        "seed": editing_sections(lambda sections: sections["settings"].update({"train.seed": 7})),
        "commit_in_the_passport": editing_sections(lambda sections: sections["code"].update(commit="0" * 40)),
        "uncommitted_changes": editing_sections(drop_diff),
        "lock_of_libraries": editing_sections(change_lock),
        "time": editing_sections(shorten_time),
        "machine": editing_sections(lambda sections: sections["machine"].update(processor="another")),
    },
    "parent of the results": {
        "passport_of_another_run": taking(WEIGHTS_PASSPORT),
        "results_of_another_run": taking("passport.json"),
        "parent_of_another_run": parent_of_another_run,
    },
    "signature of the weights": {
        "signature_by_another_key": signature_by_another_key,
        "removed_signature": lambda run: run.reseal(),
        "signature_of_another_passport": signature_of_another_passport,
    },
    "prediction": {
        "resealed_weights_of_another_run": resealed(taking(WEIGHTS)),
        "resealed_network_in_place_of_its_average": resealed(network_in_place_of_its_average),
        "resealed_predictions_scored_again": resealed(predicted_png, scored=True),
        "resealed_results_of_another_run": resealed(results_of_another_run),
        "resealed_instances_scored_again": resealed(predicted_instances, scored=True),
    },
    "scores": {
        "resealed_metric": resealed(metric),
        "resealed_interval": resealed(interval),
        "resealed_score_of_one_image": resealed(score_of_one_image),
    },
    "replay": {
        "resealed_seed": setting("seed", 7),
        "resealed_learning_rate": setting("learning_rate", 1e-3),
        "resealed_first_steps_of_another_run": first_steps_of_another_run,
        "resealed_training_image": resealed(training_image, data=True),
    },
    "number of steps": {"resealed_number_of_steps": number_of_steps},
    "description of the weights": {"resealed_class_names": resealed(class_names)},
    "splits": {
        "resealed_leak_of_the_validation_split": resealed(leak_of_the_validation_split, data=True),
        "resealed_list_of_ids": list_of_ids,
    },
    "code of the weights": {
        "resealed_commit": commit,
        "resealed_lock_of_libraries": lambda run: run.reseal(change_lock),
    },
    "code of the results": {"resealed_uncommitted_changes": lambda run: run.reseal(drop_diff, drop_diff)},
}
