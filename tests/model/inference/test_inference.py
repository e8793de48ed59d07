"""Settings of inference change how the network runs, and its results at most by rounding."""

import re
from dataclasses import replace

import pytest
import torch

from model.inference.merging import MergingSettings
from model.inference.post_processing import ImageSizes, predict_panoptic
from model.inference.predictor import inference_forward, require_compiler
from model.inference.settings import InferenceSettings
from model.network.outputs import PanopticOutput
from tests.model.network.tiny_network import random_tensor, tiny_network

PLAIN = InferenceSettings(channels_last=False)
SIZES = ((48, 64), (40, 64))
# Without thresholds even an untrained network finds segments.
LENIENT = MergingSettings(score_threshold=0, mask_threshold=0.1, overlap_things=1, overlap_stuff=1)


@torch.no_grad()
def outputs(settings: InferenceSettings, seed: int) -> list[PanopticOutput]:
    """Run one network on images of two sizes."""
    torch.manual_seed(0)
    forward = inference_forward(tiny_network(), settings)
    return [forward(random_tensor(1, 3, *size, seed=seed)) for size in SIZES]


def equal_pixels(found: PanopticOutput, expected: PanopticOutput, size: tuple[int, int]) -> float:
    """Compute the fraction of pixels with the same class."""
    maps = []
    for output in (found, expected):
        (prediction,) = predict_panoptic(output, [ImageSizes(size, size, size)], LENIENT)
        labels = torch.tensor([-1, *(segment.label for segment in prediction.segments)])
        maps.append(labels[torch.from_numpy(prediction.ids).long()])
    return float((maps[0] == maps[1]).float().mean())


@pytest.mark.parametrize("seed", range(3))
def test_the_memory_layout_changes_no_result(seed: int) -> None:
    settings = replace(PLAIN, channels_last=True)
    for found, expected, size in zip(outputs(settings, seed), outputs(PLAIN, seed), SIZES, strict=True):
        torch.testing.assert_close(found.memory.tokens, expected.memory.tokens, atol=1e-4, rtol=1e-4)
        assert equal_pixels(found, expected, size) > 0.99


def test_bfloat16_stays_close() -> None:
    """Boxes stay in float32; pixels keep their class even with random weights, where near ties abound."""
    fractions = []
    for seed in range(3):
        found = outputs(replace(PLAIN, precision="bfloat16"), seed)
        for one, expected, size in zip(found, outputs(PLAIN, seed), SIZES, strict=True):
            assert one.stuff_logits is not None
            assert one.stuff_logits.dtype == torch.bfloat16
            assert one.location.boxes.dtype == torch.float32
            relative = (one.memory.tokens - expected.memory.tokens).norm() / expected.memory.tokens.norm()
            assert 0 < relative < 0.02
            fractions.append(equal_pixels(one, expected, size))
    assert min(fractions) > 0.95


def test_auto_is_float32_on_a_cpu() -> None:
    logits = outputs(replace(PLAIN, precision="auto"), 0)[0].stuff_logits
    assert logits is not None
    assert logits.dtype == torch.float32


@pytest.mark.slow
def test_a_compiled_network_gives_equal_maps() -> None:
    """Two sizes are compiled separately."""
    torch._dynamo.utils.counters.clear()
    compiled = outputs(replace(PLAIN, compile=True), 0)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2
    for found, expected, size in zip(compiled, outputs(PLAIN, 0), SIZES, strict=True):
        torch.testing.assert_close(found.query_masks.masks, expected.query_masks.masks, atol=1e-4, rtol=1e-4)
        assert equal_pixels(found, expected, size) > 0.99


@pytest.mark.slow
@torch.no_grad()
def test_a_compiled_network_follows_its_weights() -> None:
    """Training compiles again for every validation, and torch returns what it has compiled before."""
    network = tiny_network()
    compiled = replace(PLAIN, compile=True)
    images = random_tensor(1, 3, *SIZES[0])
    before = inference_forward(network, compiled)(images).query_masks.masks
    for parameter in network.parameters():
        parameter.mul_(1.1)
    found, expected = (inference_forward(network, each)(images).query_masks.masks for each in (compiled, PLAIN))
    assert not torch.allclose(before, expected, atol=1e-3)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("device", "needed"), [("cpu", "g++"), ("cuda", "the package triton")])
def test_a_missing_compiler_is_reported(device: str, needed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=re.escape(f"{needed}, with which torch compiles for {device}, is not found")):
        require_compiler(torch.device(device))


def test_unknown_precision() -> None:
    with pytest.raises(ValueError, match=re.escape("predict.precision is 'half'; choose one of float32, bfloat16")):
        InferenceSettings(precision="half")
