"""Settings of MaskFormer, Mask2Former and EoMT: refused, without effect, or with the effect that they promise."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.complexity.counts import count_macs, meta_network
from model.network.config import NetworkConfig
from model.network.families import build_network
from model.network.segmenter import Segmenter
from model.training.criterion import LossWeights, SegmentCounts
from model.training.distributed.checkpointing import checkpoint_layers
from model.training.objective import BatchObjective
from tests.model.network.families.test_against_transformers import joined
from tests.model.network.tiny_network import STUFF, THINGS, TINY
from tests.model.training.synthetic import random_batch

FAMILIES = "maskformer", "mask2former", "eomt"
CONFIG = replace(TINY, backbone_norm="group", heads=2)
NOT_THEIRS: tuple[dict[str, object], ...] = (
    {"stuff": "none", "attention": "dense", "mask_head": "fpn"},
    {"mask_head": "fpn", "stuff": "decoupled"},
    {"classes_from": "masks", "location_target": "center"},
    {"levels": 5, "points": 1, "thing_mask_layers": 3, "stuff_mask_layers": 1, "mask_feedforward": 7},
    {"query_initialization": "encoder", "token_classes": True},
)
"""Settings of Panoptic SegFormer, some in combinations that it refuses."""
WITHOUT_EFFECT: dict[str, tuple[dict[str, object], ...]] = {
    "maskformer": (*NOT_THEIRS, {"encoder_layers": 3}),
    "mask2former": (*NOT_THEIRS, {"dropout": 0.5}),
    "eomt": (*NOT_THEIRS, {"backbone": "swin_tiny", "frozen_stages": 200, "feedforward": 7}),
}


def network_of(family: str, change: dict[str, object] | None = None) -> Segmenter:
    torch.manual_seed(0)
    return build_network(NetworkConfig(**{**vars(CONFIG), "family": family, **(change or {})}), THINGS, STUFF)


def losses_of(network: Segmenter) -> dict[str, Tensor]:
    batch = random_batch(1, (2, 3))
    targets = tuple(map(joined, batch.targets))
    torch.manual_seed(1)  # of dropout, and of the points at which masks are compared
    objective = BatchObjective(targets, SegmentCounts.of(targets), LossWeights())
    return network.losses(batch.images, batch.image_sizes, objective)


@pytest.mark.parametrize("family", FAMILIES)
def test_settings_of_panoptic_segformer_have_no_effect(family: str) -> None:
    expected = losses_of(network_of(family))
    for change in WITHOUT_EFFECT[family]:
        found = losses_of(network_of(family, change))
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected), change


@pytest.mark.parametrize("family", FAMILIES)
def test_a_decoder_needs_a_layer(family: str) -> None:
    with pytest.raises(ValueError, match=f"model.location_layers is 0; expected at least 1 with the family '{family}'"):
        replace(CONFIG, family=family, location_layers=0)


@pytest.mark.parametrize("change", [{"drop_path": 0.9}, {"dropout": 0.9}])
def test_eomt_drops(change: dict[str, object]) -> None:
    expected, found = losses_of(network_of("eomt")), losses_of(network_of("eomt", change))
    assert not torch.equal(found["queries1_class"], expected["queries1_class"])


def gradients_of(network: Segmenter) -> tuple[dict[str, Tensor], int]:
    """Return the gradients of one step, and the number of bytes kept for the backward pass."""
    kept = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        terms = losses_of(network)
    torch.autograd.backward(torch.stack(list(terms.values())).sum())
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}, kept


@pytest.mark.parametrize("family", FAMILIES)
def test_activation_checkpointing_keeps_less_for_the_same_gradients(family: str) -> None:
    expected, much = gradients_of(network_of(family, {"dropout": 0.2}))
    network = network_of(family, {"dropout": 0.2})
    checkpoint_layers(network)
    found, little = gradients_of(network)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=f"{name} differs")
    assert little < much


@pytest.mark.parametrize("family", FAMILIES)
def test_counts_have_the_parts_of_the_network_alone(family: str) -> None:
    network = meta_network(replace(CONFIG, family=family, classes_from="masks"), THINGS, STUFF)
    assert count_macs(network, 64, 64).products.keys() == {name for name, _ in network.named_children()} - {"criterion"}


@pytest.mark.slow
def test_eomt_is_traced_for_any_size(tmp_path: Path) -> None:
    from model.export.files import trace
    from model.export.inference_network import InferenceNetwork
    from model.export.sizes import Sizes

    network = InferenceNetwork(network_of("eomt"))
    sizes = Sizes.dynamic(network.network.config, network.network.side_multiple)
    program = trace(network, sizes).module()
    for batch, height, width in ((1, 96, 128), (2, 256, 256)):
        images = torch.randn(batch, 3, *sizes.nearest(height, width))
        for found, expected in zip(program(images), network(images), strict=True):
            torch.testing.assert_close(found, expected)
