"""The train stage as a program: killed at any moment and resumed, it ends with the weights of an undisturbed run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from safetensors.torch import load_file, save

from model.training.distributed.stopping import STOPPED
from panoptic.datasets.coco import build_index
from panoptic.index import PanopticIndex
from stages import train
from tests.stages.training_runs import commands, until
from tests.tiny_dataset import random_image, write_split

PARAMS = """
model: {backbone: tiny, backbone_norm: group, frozen_stages: 0, channels: 32, heads: 2, levels: 3, points: 2,
  encoder_layers: 1, location_layers: 1, thing_mask_layers: 1, stuff_mask_layers: 1, feedforward: 32,
  mask_feedforward: 32, queries: 6}
train: {initial_weights: random, epochs: 12, batch_size: 2, images_per_forward: 2, learning_rate: 1e-3, workers: 1,
  log_every: 1, save_every: 3, validate_every: 8, ema_decay: 0.9,
  augmentation: {resize_shorter: [], crop_probability: 0}}
predict: {shorter: 32, longer: 64}
"""
STEPS = 24


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    split = write_split(root, "train", [random_image(rng, index, 64, 64) for index in range(4)])
    build_index(split.panoptic_json, split.masks, split.images).save(root / "index.json")
    (root / "params.yaml").write_text(PARAMS)
    return root


def command(dataset: Path, folder: Path) -> list[str]:
    inputs = ["--params", "params.yaml", "--train-index", "index.json", "--val-index", "index.json"]
    outputs = ["--state", "state", "--model", "model.safetensors", "--curves", "curves"]
    arguments = [str(dataset / part) if not part.startswith("--") else part for part in inputs]
    arguments += [str(folder / part) if not part.startswith("--") else part for part in outputs]
    return [sys.executable, "-m", "stages.train", *arguments]


def outputs(folder: Path) -> dict[str, bytes]:
    names = ("model.safetensors", "model.json", "curves/loss.csv", "curves/quality.csv")
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def undisturbed(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of an undisturbed run."""
    folder = tmp_path_factory.mktemp("undisturbed")
    subprocess.run(command(dataset, folder), check=True, capture_output=True)
    return folder


def test_kill_minus_nine_and_resume(dataset: Path, undisturbed: Path, tmp_path: Path) -> None:
    killed = tmp_path
    run = subprocess.Popen(command(dataset, killed), stderr=subprocess.DEVNULL, start_new_session=True)
    while not list(killed.glob("state/*/state.pt")) and run.poll() is None:
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL, "it finished before it could be killed"
    assert not (killed / "model.safetensors").exists()

    resumed = subprocess.run(command(dataset, killed), check=True, capture_output=True, text=True)
    assert "resuming from" in resumed.stdout
    assert outputs(killed) == outputs(undisturbed)
    rows = (undisturbed / "curves/loss.csv").read_text().splitlines()
    assert [int(row.split(",")[0]) for row in rows[1:]] == list(range(1, STEPS + 1))
    assert not list(undisturbed.glob("state/*")), "the state of a finished run is no longer needed"
    assert json.loads((undisturbed / "curves/metrics.json").read_text())["steps"] == STEPS


@pytest.mark.slow
def test_a_signal_to_all_processes_at_a_validation_saves_the_state(
    dataset: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """SLURM signals every process, including those that read images and evaluate."""
    run = subprocess.Popen(
        command(dataset, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    until(lambda: evaluates(run.pid), run)
    os.killpg(run.pid, signal.SIGTERM)
    output, _ = run.communicate()
    assert run.returncode == STOPPED, output
    assert "stopped after step" in output

    resumed = subprocess.run(command(dataset, tmp_path), check=True, capture_output=True, text=True)
    assert "resuming from" in resumed.stdout
    assert outputs(tmp_path) == outputs(undisturbed)


def evaluates(group: int) -> bool:
    """Tell whether the evaluation of a validation runs in a process group."""
    for pid, words in commands():
        with suppress(ProcessLookupError):  # it has ended
            if words[1:3] == ["-m", "stages.evaluate"] and os.getpgid(pid) == group:
                return True
    return False


def arguments_with(settings: str, dataset: Path, folder: Path) -> list[str]:
    """Write settings and return the arguments of the stage that reads them."""
    params = folder / "params.yaml"
    params.write_text(settings)
    arguments = command(dataset, folder)[3:]
    arguments[arguments.index("--params") + 1] = str(params)
    return arguments


def test_other_settings_never_resume_a_stopped_run(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train, "measure_quality", stop)
    said = []
    for rate in ("1e-3", "2e-3", "1e-3"):
        with pytest.raises(SystemExit, match="130"):
            train.main(
                arguments_with(PARAMS.replace("learning_rate: 1e-3", f"learning_rate: {rate}"), dataset, tmp_path)
            )
        said.append(capsys.readouterr().out)
    assert len(list((tmp_path / "state").iterdir())) == 2
    first, other, again = said
    assert "resum" not in first
    assert "because of a change since: train.learning_rate 0.001 -> 0.002. This run starts from the beg" in other
    assert "(step 6 of 24, " in other
    assert "initial weights: random" in other
    assert "state.pt: step 6 of 24" in again


def quality(*_: object) -> dict[str, float]:
    return {"all": 1.0}


def test_settings_that_decide_no_weight_may_change_when_a_run_is_resumed(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {
        "workers: 1": "workers: 0",
        "log_every: 1,": "log_every: 5,",
        "save_every: 3": "save_every: 4",
        "validate_every: 8": "validate_every: 5",
        "epochs: 12": "activation_checkpointing: true, epochs: 12",
        "queries: 6": "queries: 6, selected_queries: 3",
        "longer: 64": "longer: 32",
        "predict:": "cluster: {timeout_minutes: 3}\npredict:",
    }
    changed = PARAMS
    for old, new in changes.items():
        assert changed.count(old) == 1
        changed = changed.replace(old, new)
    for folder in ("undisturbed", "stopped"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(train, "measure_quality", quality)
    train.main(arguments_with(PARAMS, dataset, tmp_path / "undisturbed"))
    monkeypatch.setattr(train, "measure_quality", stop)
    with pytest.raises(SystemExit, match="130"):
        train.main(arguments_with(PARAMS, dataset, tmp_path / "stopped"))
    monkeypatch.setattr(train, "measure_quality", quality)
    train.main(arguments_with(changed, dataset, tmp_path / "stopped"))
    assert "state.pt: step 6 of 24" in capsys.readouterr().out
    # Without the header, which has the sizes and the network's settings.
    weights = [save(load_file(tmp_path / folder / "model.safetensors")) for folder in ("undisturbed", "stopped")]
    assert weights[0] == weights[1]


def test_changed_data_is_the_reason_why_a_run_starts_anew(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "data"
    shutil.copytree(dataset, copy)
    monkeypatch.setattr(train, "measure_quality", stop)
    for images in (4, 3):
        index = PanopticIndex.load(dataset / "index.json")
        replace(index, records=index.records[:images]).save(copy / "index.json")
        with pytest.raises(SystemExit, match="130"):
            train.main(arguments_with(PARAMS, copy, tmp_path))
    assert "because of a change since: training index changed; validation index changed. " in capsys.readouterr().out


@pytest.mark.parametrize("images", [0, 3])
def test_nothing_to_learn_is_an_error(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], images: int
) -> None:
    copy = tmp_path / "data"
    shutil.copytree(dataset, copy)
    index = PanopticIndex.load(dataset / "index.json")
    void = [replace(record, segments=()) for record in index.records[:images]]
    replace(index, records=void).save(copy / "index.json")
    with pytest.raises(SystemExit):
        train.main(arguments_with(PARAMS, copy, tmp_path))
    assert f"index.json: {images} images, none of which has a segment" in capsys.readouterr().err
    assert not (tmp_path / "model.safetensors").exists()


def test_a_validation_without_images_is_said(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train, "measure_quality", quality)
    empty = tmp_path / "empty.index"
    replace(PanopticIndex.load(dataset / "index.json"), records=[]).save(empty)
    settings = PARAMS.replace("epochs: 12", "epochs: 1")
    train.main([*arguments_with(settings, dataset, tmp_path), "--val-index", str(empty)])
    assert f"warning: {empty}: no image, so that the quality is never measured" in capsys.readouterr().out


def test_the_first_lines_say_what_will_happen(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train, "measure_quality", quality)
    settings = PARAMS.replace("epochs: 12", "epochs: 3, warmup_steps: 9").replace("batch_size: 2", "batch_size: 6")
    train.main(arguments_with(settings.replace("queries: 6", "queries: 2"), dataset, tmp_path))
    lines = capsys.readouterr().out.splitlines()
    things = "things, one has"
    expected = (
        "training on 4 images of 2 thing and 2 stuff classes from ",
        "epochs: 3; steps: 3, of 6 images, 2 per forward pass; processes: 1, on ",
        "warning: train.batch_size is 6, but there are 4 images, so that each step takes some of them several times",
        "warning: train.warmup_steps is 9, but the run has 3 steps, so that the learning rate never reaches ",
        f"warning: {dataset / 'index.json'}: ",
        "initial weights: random",
    )
    assert len(lines) == len(expected)
    assert all(line.startswith(start) for line, start in zip(lines, expected, strict=True))
    assert things in lines[4]
    assert "more than model.queries (2) can find" in lines[4]
    assert lines[1].endswith("adamw, learning rate 0.001, constant")


def stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def test_wrong_settings_fail_with_one_clear_line(dataset: Path, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(PARAMS.replace("learning_rate", "lerning_rate"))
    arguments = command(dataset, tmp_path)
    arguments[arguments.index("--params") + 1] = str(params)
    ended = subprocess.run(arguments, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "train.lerning_rate: unknown key (did you mean 'learning_rate'?)" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == [params]


def test_missing_imagenet_weights_fail_with_one_clear_line(dataset: Path, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(
        PARAMS.replace("initial_weights: random", "initial_weights: imagenet").replace("tiny", "resnet50")
    )
    arguments = [*command(dataset, tmp_path), "--pretrained", str(tmp_path / "weights")]
    arguments[arguments.index("--params") + 1] = str(params)
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    ended = subprocess.run(arguments, capture_output=True, text=True, env=offline)
    assert ended.returncode == 2
    assert f"put it at {tmp_path / 'weights' / 'resnet50.safetensors'}" in ended.stderr
    assert "train.initial_weights: random" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert list(tmp_path.iterdir()) == [params]


def test_layers_that_are_not_trained_cannot_be_read(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(
        PARAMS.replace("epochs: 12", "deep_supervision: false, epochs: 12").replace("64}", "64, mask_layer: 1}")
    )
    arguments = command(dataset, tmp_path)[3:]
    arguments[arguments.index("--params") + 1] = str(params)
    with pytest.raises(SystemExit):
        train.main(arguments)
    assert "set predict.mask_layer to 0" in capsys.readouterr().err
