"""The passport that training writes beside the weights."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from model.training.first_steps import weights_digest
from panoptic.datasets.coco import build_index
from panoptic.passport.digests import digest_of
from panoptic.passport.document import Passport, read_passport
from stages import train
from tests.stages.training_runs import PARAMS
from tests.tiny_dataset import random_image, write_split

STEPS = 6


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    split = write_split(root, "train", [random_image(rng, index, 32, 32) for index in range(4)])
    build_index(split.panoptic_json, split.masks, split.images).save(root / "index")
    settings = PARAMS["train"] | {"epochs": STEPS, "save_every": 2, "validate_every": 3, "ema_decay": 0.0}
    (root / "params.yaml").write_text(json.dumps(PARAMS | {"train": settings}))
    return root


def train_once(dataset: Path, folder: Path, quality: Callable[..., dict[str, float]]) -> None:
    arguments = [
        "--params",
        dataset / "params.yaml",
        "--train-index",
        dataset / "index",
        "--val-index",
        dataset / "index",
    ]
    arguments += ["--state", folder / "state", "--model", folder / "model.safetensors", "--curves", folder]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "measure_quality", quality)
        train.main([str(argument) for argument in arguments])


def measured(*_: object) -> dict[str, float]:
    return {"all": 50.0, "things": 40.0, "stuff": 60.0}


def failing(*_: object) -> dict[str, float]:
    raise ValueError("no quality today")


@pytest.fixture(scope="module")
def undisturbed(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Passport]:
    folder = tmp_path_factory.mktemp("undisturbed")
    train_once(dataset, folder, measured)
    return folder, read_passport(folder / "model.passport.json")


def test_it_describes_the_run(dataset: Path, undisturbed: tuple[Path, Passport]) -> None:
    folder, passport = undisturbed
    assert passport.broken_link() is None
    files = passport.section("files")
    assert set(files.values) == {"weights", "description", "loss curve", "quality curve", "metrics"}
    for what in files.values:
        assert digest_of(folder / files.child(what).text("path")) == files.child(what).text("sha256")
    assert passport.section("settings").values["train.epochs"] == STEPS
    assert passport.section("training").integer("steps") == STEPS
    assert passport.section("machine").integer("threads") == torch.get_num_threads()
    assert passport.section("data").child("train images").integer("files") == 4
    assert passport.section("splits").integer("shared_images") == 4
    (session,) = passport.section("usage").objects("sessions")
    assert session.number("cpu_seconds") > 0
    assert session.number("wall_seconds") > 0
    assert "model/training/loop.py" in passport.section("code").child("files").values


def test_first_steps_are_recorded_and_survive_an_interruption(
    dataset: Path, undisturbed: tuple[Path, Passport], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        train_once(dataset, tmp_path, failing)  # after step 3, with the state of step 2
    assert not (tmp_path / "model.passport.json").exists()
    train_once(dataset, tmp_path, measured)
    passport = read_passport(tmp_path / "model.passport.json")
    assert set(passport.section("training").child("first_steps").values) == {"1", "2", "4"}
    for section in ("data", "splits", "settings", "training"):
        assert passport.section(section).values == undisturbed[1].section(section).values
    weights = passport.section("files").child("weights").text("sha256")
    assert weights == undisturbed[1].section("files").child("weights").text("sha256")
    stopped, last = passport.section("usage").objects("sessions")
    assert stopped.number("wall_seconds") >= 0
    assert not stopped.has("cpu_seconds")
    assert last.has("cpu_seconds")


def test_digest_of_weights_depends_on_every_bit(undisturbed: tuple[Path, Passport]) -> None:
    weights = load_file(undisturbed[0] / "model.safetensors")
    before, name = weights_digest(weights), next(iter(weights))
    assert weights_digest(dict(reversed(weights.items()))) == before
    weights[name].view(torch.uint8).flatten()[0] ^= 1
    assert weights_digest(weights) != before
