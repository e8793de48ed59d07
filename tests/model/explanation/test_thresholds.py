"""The score threshold of merging that is chosen is the one that the ground truth was made with."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.explanation.thresholds import best_threshold, score_thresholds
from model.inference.predictor import Predictor
from model.inference.settings import InferenceSettings
from model.network.panoptic_segformer import PanopticSegFormer
from model.weights.checkpoint import Checkpoint, save_checkpoint
from panoptic.datasets.coco import build_index
from panoptic.format.categories import CategoryTable
from panoptic.index import PanopticIndex
from panoptic_segformer import calibrate
from tests.markdown import unpadded
from tests.model.explanation.observed import LENIENT
from tests.model.network.tiny_network import TINY
from tests.tiny_dataset import CATEGORIES, TinyImage, write_split

TABLE = CategoryTable.from_json(CATEGORIES, "test")
SETTINGS = InferenceSettings(48, 64, batch_size=2, merging=LENIENT)


@pytest.fixture(scope="module")
def network() -> PanopticSegFormer:
    """A network with random weights for the classes of `TABLE`."""
    torch.manual_seed(0)
    return PanopticSegFormer(replace(TINY, backbone_norm="group"), len(TABLE.things), len(TABLE.stuff)).eval()


def write(network: PanopticSegFormer, threshold: float, root: Path) -> tuple[PanopticIndex, list[float]]:
    """Write images whose ground truth is what the network finds in them with a threshold; also return all scores."""
    merging = replace(LENIENT, score_threshold=threshold)
    predictor, rng = Predictor(network, replace(SETTINGS, merging=merging)), np.random.default_rng(1)
    images, scores = [], list[float]()
    for number in range(3):
        pixels = rng.integers(0, 256, (48, 64, 3), np.uint8)
        (prediction,) = predictor.predict([predictor.prepare(pixels, "image")])
        images.append(TinyImage(number, pixels, prediction.ids, prediction.result_segments(TABLE)))
        scores += [segment.score for segment in prediction.segments]
    split = write_split(root, "train", images)
    return build_index(split.panoptic_json, split.masks, split.images), scores


def test_the_threshold_of_the_ground_truth_is_the_best(network: PanopticSegFormer, tmp_path: Path) -> None:
    everything, found = write(network, 0.0, tmp_path / "everything")
    thresholds = [0.0, float(np.median(found)), max(found)]
    some, _ = write(network, thresholds[1], tmp_path / "some")
    for index, best in ((everything, 0), (some, 1)):
        scores = score_thresholds(network, SETTINGS, index, thresholds, resamples=20)
        assert [one.threshold for one in scores] == thresholds
        assert best_threshold(scores) == thresholds[best]
        assert scores[best].pq["all"].value == 1
        assert all(one.loss.value == pytest.approx(1 - one.pq["all"].value) for one in scores)
        assert scores[2].loss.value > 0.1


def test_nothing_to_choose_from_is_refused(network: PanopticSegFormer, tmp_path: Path) -> None:
    index, _ = write(network, 0.0, tmp_path)
    with pytest.raises(ValueError, match="0 thresholds and 3 images; give at least one of each"):
        score_thresholds(network, SETTINGS, index, [])


def test_the_command_prints_what_to_set(
    network: PanopticSegFormer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(network, 0.0, tmp_path)[0].save(tmp_path / "train.index")
    model = tmp_path / "model.safetensors"
    save_checkpoint(model, Checkpoint(network.config, TABLE, {}, network, inference=SETTINGS))
    calibrate.main(["--model", str(model), "--index", str(tmp_path / "train.index"), "--images", "2"])
    out = unpadded(capsys.readouterr().out)
    assert "| score threshold | PQ | things | stuff | PQ below the best |" in out
    assert f"2 images of {tmp_path / 'train.index'}; the weights have {LENIENT.score_threshold:g}" in out
    assert "predict.merging.score_threshold: 0.02" in out
    with pytest.raises(SystemExit):
        calibrate.main(["--images", "-1"])
