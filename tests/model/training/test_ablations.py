"""Every file in experiments/ablations and readings trains and predicts on top of the settings of a tiny network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.inference.predict import predict_images
from model.inference.predictor import Predictor
from model.inference.settings import InferenceSettings
from model.network.config import NetworkConfig
from model.network.panoptic_segformer import PanopticSegFormer
from model.training.distributed.processes import Processes
from model.training.loop import TrainingRun, train
from model.training.settings import TrainSettings
from panoptic.datasets.coco import build_index
from panoptic.index import PanopticIndex
from pipelines.override import override_settings
from stages.settings import load_section
from tests.tiny_dataset import random_image, write_split

EXPERIMENTS = Path(__file__).parents[3] / "experiments"
ABLATIONS = sorted([*(EXPERIMENTS / "ablations").iterdir(), *(EXPERIMENTS / "readings").iterdir()])
PLAIN = """
model: {backbone: tiny, backbone_norm: group, frozen_stages: 0, channels: 32, heads: 4, points: 2, encoder_layers: 1,
  location_layers: 2, thing_mask_layers: 2, stuff_mask_layers: 2, feedforward: 32, mask_feedforward: 32, queries: 9,
  selected_queries: 9, dropout: 0.0}
train: {epochs: 1, batch_size: 2, images_per_forward: 2, learning_rate: 1e-3, weight_decay: 0.0, workers: 0,
  initial_weights: random, augmentation: {resize_shorter: [32], crop_probability: 0.5, crop_min: 24, crop_max: 32}}
predict: {shorter: 32, longer: 64}
"""
WITH_AIDS = (
    PLAIN.replace("dropout: 0.0", "dropout: 0.0, query_initialization: encoder, token_classes: true")
    .replace("crop_probability: 0.5", "crop_probability: 0.0")
    .replace("learning_rate: 1e-3", "learning_rate: 1e-3, optimizer: muon, ema_decay: 0.9, losses: {token_class: 2.0}")
)
STEPS = 2


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> PanopticIndex:
    rng = np.random.default_rng(0)
    images = [random_image(rng, number, 32, 40) for number in range(2 * STEPS)]
    split = write_split(tmp_path_factory.mktemp("tiny"), "train", images)
    return build_index(split.panoptic_json, split.masks, split.images)


def sections(base: str, ablation: Path, folder: Path) -> tuple[NetworkConfig, TrainSettings, InferenceSettings]:
    """Return the sections that the stages would read."""
    params = folder / "params.yaml"
    params.write_text(base)
    override_settings(params, [ablation])
    return (
        load_section(params, "model", NetworkConfig),
        load_section(params, "train", TrainSettings),
        load_section(params, "predict", InferenceSettings),
    )


@pytest.mark.parametrize("base", [PLAIN, WITH_AIDS], ids=["plain", "with_aids"])
@pytest.mark.parametrize("ablation", ABLATIONS, ids=lambda path: path.stem)
def test_it_trains_and_predicts(ablation: Path, base: str, index: PanopticIndex, tmp_path: Path) -> None:
    config, settings, inference = sections(base, ablation, tmp_path)
    torch.manual_seed(0)
    network = PanopticSegFormer(config, len(index.categories.things), len(index.categories.stuff))
    before = {name: value.clone() for name, value in network.named_parameters()}
    run = TrainingRun(
        network=network,
        index=index,
        settings=settings,
        state_file=tmp_path / "state.pt",
        curves=tmp_path / "curves",
        processes=Processes(),
        validate=lambda trained: {"layers": float(len(list(trained.modules())))},
    )
    trained = train(run)  # raises if a loss or gradient is not finite
    assert run.steps == STEPS
    changed = {name.split(".")[0] for name, value in network.named_parameters() if not torch.equal(value, before[name])}
    parts = {name for name, part in network.named_children() if list(part.parameters())}
    assert changed == parts
    lenient = replace(inference.merging, score_threshold=0, mask_threshold=0, overlap_things=1, overlap_stuff=1)
    predictions = list(predict_images(Predictor(trained, replace(inference, merging=lenient)), index))
    assert len(predictions) == 2 * STEPS
    found = {segment.category_id for prediction in predictions for segment in prediction.segments}
    assert found, "nothing was found although nothing was filtered out"
    if config.stuff == "none":
        assert found <= {category.id for category in index.categories.things}
