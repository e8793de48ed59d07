"""Parameter groups, learning-rate schedules and the weight average."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.training.ema import WeightAverage
from model.training.optimizer import build_optimizers, rate_at, set_rate
from model.training.settings import TrainSettings
from stages.settings import load_section
from tests.model.training.synthetic import network

SETTINGS = TrainSettings(learning_rate=1.0, epochs=12)


def test_backbone_and_sampling_have_lower_rates() -> None:
    model = network()
    optimizers = build_optimizers(model, replace(SETTINGS, backbone_multiplier=0.5, sampling_multiplier=0.25))
    set_rate(optimizers, 2.0)
    rates = {id(p): group["lr"] for group in optimizers[0].param_groups for p in group["params"]}
    assert len(optimizers) == 1
    assert len(rates) == sum(p.requires_grad for p in model.parameters())
    for name, parameter in model.named_parameters():
        slow_geometry = "sampling_offsets" in name or "reference_points" in name
        expected = 1.0 if name.startswith("backbone.") else 0.5 if slow_geometry else 2.0
        assert rates[id(parameter)] == expected, name


def test_published_schedule_drops_once_after_epoch_eight() -> None:
    rates = [rate_at(step, 10, SETTINGS) for step in range(120)]
    assert rates[:80] == [1.0] * 80
    assert rates[80:] == pytest.approx([0.1] * 40)


def test_cosine_and_warm_up() -> None:
    settings = replace(SETTINGS, schedule="cosine", warmup_steps=4, epochs=10)
    rates = [rate_at(step, 10, settings) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == rates[4]
    assert rates[50] == pytest.approx(0.5)
    assert 0 < rates[99] < 0.001


@pytest.mark.parametrize(
    "wrong", ["epochs: 0", "schedule: linear", "ema_decay: 1.0", "learning_rate: 0", "clip_norm: 0", "warmup_steps: -1"]
)
def test_settings_that_cannot_be_trained_with_are_rejected(wrong: str, tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text(f"train: {{{wrong}}}")
    with pytest.raises(ValueError, match=rf"params\.yaml: train.*{wrong.split(':')[0]} is"):
        load_section(params, "train", TrainSettings)


def test_average_follows_the_weights() -> None:
    model = network()
    average = WeightAverage(model, 0.9)
    started = next(model.parameters()).detach().clone()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    average.update(model, 10_000)
    torch.testing.assert_close(next(average.network.parameters()), started + 0.1)
    average.update(model, 0)
    torch.testing.assert_close(next(average.network.parameters()), started + 0.91)
