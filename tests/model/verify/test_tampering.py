"""Every tampering with a real run is found by `model.verify`, also where all digests were computed anew.

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
from model.verify.__main__ import main
from panoptic.format.id_map import decode_id_map, encode_id_map
from panoptic.index import PanopticIndex
from panoptic.passport.digests import describe_ids
from panoptic.passport.document import read_passport, seal, write_passport
from tests.model.verify.forgery import Forgery, Json
from tests.model.verify.small_runs import (
    PARAMS,
    key_pair,
    link_compiled,
    make_run,
    run,
    run_stage,
    shown,
    verify_command,
    write_settings,
)

pytestmark = pytest.mark.slow
METRICS = "evaluate/metrics.json"


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("own", "foreign"):
        key_pair(folder, name)
    return folder


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> tuple[Path, str]:
    """A real signed run, and an earlier commit of its code."""
    folder = tmp_path_factory.mktemp("original") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        return folder, make_run(folder, keys / "own")


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory, original: tuple[Path, str]) -> Path:
    """A run with another seed, without a signature."""
    folder = tmp_path_factory.mktemp("other") / "run"
    shutil.copytree(original[0], folder, symlinks=True)
    write_settings(folder, PARAMS | {"train": PARAMS["train"] | {"seed": 1}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        for stage in ("train", "predict", "evaluate", "passport"):
            run_stage(folder, stage)
    return folder


# Tampering that leaves the passport, or its digests, as they are.


def a_bit_of_the_weights(run: Forgery) -> None:
    run.flip("runs/train/model.safetensors")


def weights_of_another_run(run: Forgery) -> None:
    run.take("train/model.safetensors")


def network_settings_beside_the_weights(run: Forgery) -> None:
    run.edit("train/model.json", lambda document: document["model"].update(dropout=0.5))


def names_of_two_classes(run: Forgery) -> None:
    run.edit("train/model.json", _swap_names)


def loss_curve(run: Forgery) -> None:
    _edit_curve(run, "loss", lambda rows: rows[-1].update(total="0.1"))


def metric(run: Forgery) -> None:
    run.edit(METRICS, lambda metrics: metrics["pq"].update(all=0.9))


def interval(run: Forgery) -> None:
    run.edit(METRICS, lambda metrics: metrics["intervals"]["pq"]["all"].update(low=0.0))


def score_of_one_image(run: Forgery) -> None:
    run.edit("evaluate/per_image.json", _add_match)


def predicted_png(run: Forgery) -> None:
    _paint_prediction(run)


def predicted_class(run: Forgery) -> None:
    run.edit("predict/panoptic.json", _change_class)


def predicted_instances(run: Forgery) -> None:
    run.edit("predict/instances.json", lambda results: results[0].update(score=0.99))


def index(run: Forgery) -> None:
    run.flip("runs/annotate/train.index")


def training_image(run: Forgery) -> None:
    _repaint(_first_image(run, "train"))


def validation_mask(run: Forgery) -> None:
    masks = sorted((run.folder / "datasets/part/annotations/panoptic_val").iterdir())
    shutil.copyfile(masks[1], masks[0])


def archive_in_place_of_a_folder(run: Forgery) -> None:
    images = run.folder / "datasets/part/val"
    with zipfile.ZipFile(images.with_suffix(".zip"), "w") as archive:
        for path in sorted(images.iterdir()):
            archive.write(path, path.name)
    shutil.rmtree(images)


def setting(run: Forgery) -> None:
    run.edit_sections(lambda sections: sections["settings"].update({"train.learning_rate": 1e-3}))


def seed(run: Forgery) -> None:
    run.edit_sections(lambda sections: sections["settings"].update({"train.seed": 7}))


def commit_in_the_passport(run: Forgery) -> None:
    run.edit_sections(lambda sections: sections["code"].update(commit="0" * 40))


def uncommitted_changes(run: Forgery) -> None:
    run.edit_sections(_drop_diff)


def lock_of_libraries(run: Forgery) -> None:
    run.edit_sections(lambda sections: sections["code"]["lock"].update(sha256="0" * 64))


def time(run: Forgery) -> None:
    run.edit_sections(lambda sections: sections["usage"]["sessions"][0].update(wall_seconds=1.0))


def machine(run: Forgery) -> None:
    run.edit_sections(lambda sections: sections["machine"].update(processor="another"))


def removed_section(run: Forgery) -> None:
    run.edit("train/model.passport.json", lambda passport: passport["sections"].pop("usage"))


def added_section(run: Forgery) -> None:
    run.edit("train/model.passport.json", lambda passport: passport["sections"].update(award="first prize"))


def passport_of_another_run(run: Forgery) -> None:
    run.take("train/model.passport.json")


def results_of_another_run(run: Forgery) -> None:
    run.take("passport.json")


def parent_of_another_run(run: Forgery) -> None:
    of_weights, of_results = (
        read_passport(run.other / "runs/train/model.passport.json"),
        read_passport(run.passports[1]),
    )
    write_passport(run.passports[1], seal("results", of_results.sections, of_weights))


def signature_by_another_key(run: Forgery) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PANOPTIC_KEY", str(run.keys / "foreign"))
        run.reseal()


def removed_signature(run: Forgery) -> None:
    run.reseal()


def signature_of_another_passport(run: Forgery) -> None:
    run.reseal(lambda sections: sections["usage"]["sessions"][0].update(wall_seconds=1.0))
    signed = json.loads((run.repository / "runs/train/model.passport.json").read_text())["signature"]
    run.edit("train/model.passport.json", lambda passport: passport.update(signature=signed))
    run.edit("passport.json", lambda passport: passport["parent"].update(signature=signed))


# Tampering after which all digests and chains are computed anew: only repeated work can find it.


def resealed_weights_of_another_run(run: Forgery) -> None:
    run.take("train/model.safetensors")
    run.reseal()


def resealed_network_in_place_of_its_average(run: Forgery) -> None:
    path = run.runs / "train/model.safetensors"
    weights = load_file(path)
    noise = torch.Generator().manual_seed(0)
    changed = {
        name: value + 0.01 * torch.randn(value.shape, generator=noise) if value.is_floating_point() else value
        for name, value in weights.items()
    }
    save_file(changed, path)
    run.reseal()


def resealed_metric(run: Forgery) -> None:
    metric(run)
    run.reseal()


def resealed_interval(run: Forgery) -> None:
    interval(run)
    run.reseal()


def resealed_score_of_one_image(run: Forgery) -> None:
    score_of_one_image(run)
    run.reseal()


def resealed_predictions_scored_again(run: Forgery) -> None:
    _paint_prediction(run)
    run.score_again()
    run.reseal()


def resealed_results_of_another_run(run: Forgery) -> None:
    names = [path.name for path in (run.other / "runs/evaluate").iterdir()]
    run.take(*(f"evaluate/{name}" for name in names), "predict/panoptic.json", "predict/instances.json")
    for path in (run.other / "runs/predict/panoptic").iterdir():
        run.take(f"predict/panoptic/{path.name}")
    run.reseal()


def resealed_instances_scored_again(run: Forgery) -> None:
    predicted_instances(run)
    run.score_again()
    run.reseal()


def resealed_seed(run: Forgery) -> None:
    _edit_setting(run, "seed", 7)


def resealed_learning_rate(run: Forgery) -> None:
    _edit_setting(run, "learning_rate", 1e-3)


def resealed_first_steps_of_another_run(run: Forgery) -> None:
    steps = read_passport(run.other / "runs/train/model.passport.json").sections["training"]
    run.reseal(lambda sections: sections.update(training=steps))


def resealed_number_of_steps(run: Forgery) -> None:
    _edit_setting(run, "epochs", 50)
    run.edit("train/model.json", lambda document: document["provenance"].update(steps="200"))
    run.reseal(lambda sections: sections["training"].update(steps=200))


def resealed_class_names(run: Forgery) -> None:
    names_of_two_classes(run)
    run.reseal()


def resealed_training_image(run: Forgery) -> None:
    _repaint(_first_image(run, "train"))
    with chdir(run.folder):
        run.reseal(data=True)


def resealed_leak_of_the_validation_split(run: Forgery) -> None:
    part = Path("datasets/part")
    with chdir(run.folder):
        names = sorted(path.name for path in (part / "val").iterdir())
        taken = sorted(path.name for path in (part / "train").iterdir())
        shutil.copyfile(part / "val" / names[0], part / "train" / taken[0])
        run.reseal(data=True)


def resealed_commit(run: Forgery) -> None:
    def change(sections: Json) -> None:
        sections["code"]["commit"] = run.earlier_commit

    run.reseal(change, change)


def resealed_uncommitted_changes(run: Forgery) -> None:
    run.reseal(_drop_diff, _drop_diff)


def resealed_lock_of_libraries(run: Forgery) -> None:
    run.reseal(lambda sections: sections["code"]["lock"].update(sha256="0" * 64))


def resealed_list_of_ids(run: Forgery) -> None:
    def change(sections: Json) -> None:
        sections["splits"]["val"]["zlib"] = describe_ids([1, 2, 3])["zlib"]

    run.reseal(change)


Tampering = Callable[[Forgery], None]
FOUND_BY: dict[Tampering, str] = {
    a_bit_of_the_weights: "files of the weights",
    weights_of_another_run: "files of the weights",
    network_settings_beside_the_weights: "files of the weights",
    names_of_two_classes: "files of the weights",
    loss_curve: "files of the weights",
    metric: "files of the results",
    interval: "files of the results",
    score_of_one_image: "files of the results",
    predicted_png: "files of the results",
    predicted_class: "files of the results",
    predicted_instances: "files of the results",
    index: "train data",
    training_image: "train data",
    validation_mask: "val data",
    archive_in_place_of_a_folder: "val data",
    setting: "chain of the weights",
    seed: "chain of the weights",
    commit_in_the_passport: "chain of the weights",
    uncommitted_changes: "chain of the weights",
    lock_of_libraries: "chain of the weights",
    time: "chain of the weights",
    machine: "chain of the weights",
    passport_of_another_run: "parent of the results",
    results_of_another_run: "parent of the results",
    parent_of_another_run: "parent of the results",
    signature_by_another_key: "signature of the weights",
    removed_signature: "signature of the weights",
    signature_of_another_passport: "signature of the weights",
    resealed_weights_of_another_run: "prediction",
    resealed_network_in_place_of_its_average: "prediction",
    resealed_metric: "scores",
    resealed_interval: "scores",
    resealed_score_of_one_image: "scores",
    resealed_predictions_scored_again: "prediction",
    resealed_results_of_another_run: "prediction",
    resealed_instances_scored_again: "prediction",
    resealed_seed: "replay",
    resealed_learning_rate: "replay",
    resealed_first_steps_of_another_run: "replay",
    resealed_number_of_steps: "number of steps",
    resealed_class_names: "description of the weights",
    resealed_training_image: "replay",
    resealed_leak_of_the_validation_split: "splits",
    resealed_list_of_ids: "splits",
    resealed_commit: "code of the weights",
    resealed_uncommitted_changes: "code of the results",
    resealed_lock_of_libraries: "code of the weights",
}


@pytest.mark.parametrize("tamper", FOUND_BY, ids=lambda tamper: tamper.__name__)
def test_tampering_is_found(
    tamper: Tampering,
    original: tuple[Path, str],
    other: Path,
    keys: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = Forgery.copy(original[0], tmp_path, other, original[1], keys)
    tamper(run)
    needs_key = "signature" in tamper.__name__
    status, checks = verify(run, capsys, *(("--key", str(keys / "own.pub")) if needs_key else ()))
    assert status == 1
    assert FOUND_BY[tamper] in [name for name, (verdict, _) in checks.items() if verdict == "FAILED"], shown(checks)


@pytest.mark.parametrize("tamper", [removed_section, added_section], ids=lambda tamper: tamper.__name__)
def test_fields_of_a_passport_are_those_of_its_format(
    tamper: Tampering,
    original: tuple[Path, str],
    other: Path,
    keys: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = Forgery.copy(original[0], tmp_path, other, original[1], keys)
    tamper(run)
    with pytest.raises(SystemExit) as end:
        main([str(run.runs / "train/model.safetensors"), "--data", str(run.folder)])
    assert end.value.code == 2
    assert "fields differ from those of a passport" in capsys.readouterr().err


def test_no_false_alarm_over_five_clones(original: tuple[Path, str], keys: Path, tmp_path: Path) -> None:
    """Clones of the code without its uncommitted changes, with a copy of the run, verified by the clone's own code."""
    for number in range(5):
        clone = tmp_path / f"clone-{number}"
        run(tmp_path, "git", "clone", "--quiet", str(original[0]), str(clone))
        link_compiled(clone)
        for name in ("runs", "datasets"):
            shutil.copytree(original[0] / name, clone / name)
        status, checks = verify_command(clone, "--key", str(keys / "own.pub"))
        assert status == 0, shown(checks)
        assert shown(checks) == []


def test_another_machine_is_no_alarm_and_no_excuse(
    original: tuple[Path, str], other: Path, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With other instructions torch really rounds otherwise, as on an older processor."""
    forged = Forgery.copy(original[0], tmp_path, other, original[1], keys)
    _edit_setting(forged, "seed", 7)
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    few = "--steps", "1", "--images", "4", "--repository", str(original[0])
    status, checks = verify_command(original[0], *few)
    assert status == 0, shown(checks)
    assert "machine of another kind (instruction_set 'DEFAULT' instead of " in checks["replay"][1]
    status, checks = verify_command(original[0], *few, model=forged.runs / "train/model.safetensors")
    assert status == 1
    assert checks["replay"][0] == "FAILED"


def verify(run: Forgery, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """Verify all images and two steps; return the status, and verdict and detail of each check by its name."""
    model = str(run.runs / "train/model.safetensors")
    words = [model, "--data", str(run.folder), "--repository", str(run.repository), "--steps", "2", "--json", *more]
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(words)
    found = json.loads(capsys.readouterr().out)
    assert isinstance(end.value.code, int)
    return end.value.code, {check["name"]: (check["verdict"], check["detail"]) for check in found}


def _swap_names(document: Json) -> None:
    one, two = document["categories"][:2]
    one["name"], two["name"] = two["name"], one["name"]


def _add_match(images: Json) -> None:
    entry = next(iter(images.values()))
    entry["iou_sum"] += 0.5


def _change_class(document: Json) -> None:
    segments = [segment for entry in document["annotations"] for segment in entry["segments_info"]]
    ids = sorted(category["id"] for category in document["categories"])
    segments[0]["category_id"] = next(other for other in ids if other != segments[0]["category_id"])


def _drop_diff(sections: Json) -> None:
    sections["code"]["diff"] = {"bytes": 0, "sha256": "0" * 64, "zlib": None}


def _edit_curve(run: Forgery, name: str, change: Callable[[list[dict[str, str]]], None]) -> None:
    path = run.runs / "train" / f"{name}.csv"
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    change(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue())


def _paint_prediction(run: Forgery) -> None:
    """Enlarge a predicted segment by a block of pixels."""
    path = max((run.runs / "predict/panoptic").iterdir(), key=lambda file: decode_id_map(file.read_bytes(), "").any())
    ids = decode_id_map(path.read_bytes(), path.name)
    ids[:8, :8] = np.max(ids)
    path.write_bytes(encode_id_map(ids))


def _first_image(run: Forgery, split: str) -> Path:
    """An image of the first step."""
    with chdir(run.folder):
        index = PanopticIndex.load(Path(f"runs/annotate/{split}.index"))
        record = index.records[int(epoch_plan(index.records, 4, 0, 0)[0][0])]
    return run.folder / "datasets/part" / split / record.file_name


def _repaint(path: Path) -> None:
    image = cv2.imread(str(path))
    assert image is not None
    cv2.imwrite(str(path), 255 - image)


def _edit_setting(run: Forgery, name: str, value: object) -> None:
    """Change a setting of the training everywhere that it is written."""

    def change_description(document: Json) -> None:
        settings = json.loads(document["provenance"]["settings"])
        document["provenance"]["settings"] = json.dumps(settings | {name: value})

    run.edit("train/model.json", change_description)

    def change(sections: Json) -> None:
        sections["settings"][f"train.{name}"] = value

    run.reseal(change, change)
