"""Early exit computes no layer behind the one whose masks are read, and its scores are those of such predictions."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.explanation.early_exit import describe_early_exit, measure_early_exit, median_of
from model.explanation.parts import EARLY_EXIT, left_out
from model.inference.predictor import Predictor
from model.inference.settings import InferenceSettings
from model.network.config import NetworkConfig
from model.network.mask_decoder import MaskDecoder
from model.network.mask_heads import StuffMaskDecoder
from model.network.panoptic_segformer import PanopticSegFormer
from panoptic.datasets.coco import build_index
from panoptic.format.categories import CategoryTable
from panoptic.index import PanopticIndex
from panoptic.report.explained import Estimate
from panoptic.report.variants import EARLY_EXIT_FILE, EarlyExit
from tests.model.explanation.observed import LENIENT
from tests.model.network.tiny_network import TINY, tiny_network
from tests.tiny_dataset import CATEGORIES, TinyImage, write_split

TABLE = CategoryTable.from_json(CATEGORIES, "test")
SETTINGS = InferenceSettings(48, 64, batch_size=2, merging=LENIENT)
DEEP = replace(TINY, thing_mask_layers=4, stuff_mask_layers=6)


@pytest.fixture(scope="module")
def network() -> PanopticSegFormer:
    """A network with random weights for the classes of `TABLE`; thing layers are fewer than stuff layers."""
    torch.manual_seed(0)
    return PanopticSegFormer(replace(TINY, backbone_norm="group"), len(TABLE.things), len(TABLE.stuff)).eval()


def split_found_by(network: PanopticSegFormer, layer: int, root: Path) -> PanopticIndex:
    """Write images whose ground truth is what the network finds in them after a layer."""
    predictor, rng = Predictor(network, replace(SETTINGS, mask_layer=layer)), np.random.default_rng(0)
    images = []
    for number, size in enumerate([(48, 64), (48, 64), (48, 48), (48, 64)]):
        pixels = rng.integers(0, 256, (*size, 3), np.uint8)
        (prediction,) = predictor.predict([predictor.prepare(pixels, "image")])
        images.append(TinyImage(number, pixels, prediction.ids, prediction.result_segments(TABLE)))
    split = write_split(root, "val", images)
    return build_index(split.panoptic_json, split.masks, split.images)


@pytest.mark.parametrize("layer", [1, 0])
def test_a_layer_is_scored_by_what_it_finds(layer: int, network: PanopticSegFormer, tmp_path: Path) -> None:
    index = split_found_by(network, layer, tmp_path)
    found = measure_early_exit(network, SETTINGS, index, resamples=50)
    assert [one.name for one in found.layers] == ["1", "2", "all"]
    assert (found.images, found.batch_size) == (4, 2)
    by_name = {one.name: one for one in found.layers}
    own, other = by_name["1" if layer else "all"], by_name["all" if layer else "1"]
    assert own.pq["all"] == Estimate(1, 1, 1)
    assert other.pq["all"].value < 1
    final, first = by_name["all"], by_name["1"]
    assert final.loss == Estimate(0, 0, 0)
    assert final.time == Estimate(1, 1, 1)
    assert first.loss.value == pytest.approx(final.pq["all"].value - first.pq["all"].value)
    for one in found.layers:
        low, value, high = one.milliseconds.low, one.milliseconds.value, one.milliseconds.high
        assert low is not None
        assert high is not None
        assert 0 < low <= value <= high
    (tmp_path / EARLY_EXIT_FILE).write_bytes(found.encode())
    assert EarlyExit.read(tmp_path / EARLY_EXIT_FILE) == found
    assert len(list(describe_early_exit(found))) == 3


@pytest.mark.parametrize(("layer", "things", "stuff"), [(1, 1, 1), (3, 3, 3), (5, 4, 5), (6, 4, 6), (0, 4, 6)])
def test_layers_behind_the_one_that_is_read_are_not_computed(layer: int, things: int, stuff: int) -> None:
    network, counts = tiny_network(DEEP), Counter[str]()
    assert isinstance(network.stuff_masks, StuffMaskDecoder)
    for name, decoder in (("things", network.query_masks), ("stuff", network.stuff_masks.decoder)):
        assert isinstance(decoder, MaskDecoder)
        for block in decoder.blocks:
            block.register_forward_hook(lambda *_, name=name: counts.update([name]))
    predictor = Predictor(network, replace(SETTINGS, mask_layer=layer))
    predictor.predict([predictor.prepare(np.zeros((48, 64, 3), np.uint8), "image")])
    assert counts == {"things": things, "stuff": stuff}


def test_medians_have_the_intervals_of_a_bootstrap() -> None:
    assert median_of([3.0, 1.0, 2.0], resamples=0) == Estimate(2.0)
    assert median_of([5.0, 5.0], resamples=10) == Estimate(5.0, 5.0, 5.0)
    many = median_of(np.linspace(0, 1, 401).tolist(), resamples=500)
    assert many.value == 0.5
    assert many.low == pytest.approx(0.45, abs=0.02), "the median of 401 even numbers has a standard error of 0.025"
    assert many.high == pytest.approx(0.55, abs=0.02)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (replace(TINY, stuff="joint", mask_head="fpn"), "no layers"),
        (NetworkConfig(family="maskformer"), "compute all of their layers"),
    ],
)
def test_what_has_no_early_exit_is_left_out_with_the_reason(config: NetworkConfig, reason: str) -> None:
    assert reason in left_out(config)[EARLY_EXIT]
    assert EARLY_EXIT not in left_out(TINY)
