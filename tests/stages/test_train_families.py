"""Every family trains in the stage, resumes after a kill to the same bytes, and is then used like any other network."""

import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from model.inference.merging import MergingSettings
from model.inference.predict import predict_images
from model.inference.predictor import Predictor
from model.inference.settings import InferenceSettings
from model.network.families import FAMILIES
from model.weights.checkpoint import load_checkpoint
from panoptic.index import PanopticIndex
from tests.stages.training_runs import PARAMS, TWO_PROCESSES, Training, until, write_dataset

OTHERS = sorted(set(FAMILIES) - {"panoptic_segformer"})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"))


def training_of(family: str, dataset: Path, folder: Path) -> Training:
    return Training(dataset, folder, {**PARAMS, "model": {**PARAMS["model"], "family": family, "dropout": 0.0}})


@pytest.mark.slow
@pytest.mark.parametrize("family", OTHERS)
def test_killed_and_resumed_it_ends_with_the_same_bytes(family: str, dataset: Path, tmp_path: Path) -> None:
    undisturbed = training_of(family, dataset, tmp_path / "undisturbed")
    undisturbed.run(save_every=1)
    killed = training_of(family, dataset, tmp_path / "killed")
    command = killed.command(save_every=1)
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    until(lambda: killed.states, run)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    assert not (killed.folder / "model.safetensors").exists(), "it finished before it could be killed"
    assert "resuming from" in killed.run(save_every=1)
    assert killed.results() == undisturbed.results()

    checkpoint = load_checkpoint(killed.folder / "model.safetensors")
    assert checkpoint.config.family == family
    merging = MergingSettings(score_threshold=0.0, mask_threshold=0.0)
    settings = InferenceSettings(shorter=32, longer=64, merging=merging)
    predictions = list(predict_images(Predictor(checkpoint.network, settings), PanopticIndex.load(dataset / "index")))
    assert len(predictions) == 8
    assert any(prediction.segments for prediction in predictions)


@pytest.mark.slow
def test_two_processes_train_like_one(dataset: Path, tmp_path: Path) -> None:
    """The class term alone depends on the micro-batches, which are of one image in both."""
    one, two = (training_of("maskformer", dataset, tmp_path / name) for name in ("one", "two"))
    one.run(epochs=1)
    two.run(TWO_PROCESSES, epochs=1)
    np.testing.assert_allclose(np.array(two.loss_curve()), np.array(one.loss_curve()), rtol=1e-4)
    assert two.weights().keys() == one.weights().keys()
