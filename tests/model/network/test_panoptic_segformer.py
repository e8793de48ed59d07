"""The whole network: shapes, batches, gradients, freezing."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from model.network.config import NetworkConfig
from model.network.mask_heads import StuffMaskDecoder
from model.network.outputs import PanopticOutput
from model.network.panoptic_segformer import PanopticSegFormer
from model.network.queries import top_queries
from tests.model.network.tiny_network import STUFF, THINGS, TINY, random_tensor, tiny_network

SIZES = ((48, 64), (40, 64), (48, 33))


def outputs(output: PanopticOutput) -> list[torch.Tensor]:
    """All outputs that a loss may use."""
    assert output.stuff is not None
    found = [
        output.location.class_logits,
        output.location.boxes,
        output.query_masks.masks,
        output.query_masks.queries,
        output.stuff.masks,
        output.stuff.queries,
        output.stuff_logits,
    ]
    return [tensor for tensor in found if tensor is not None]


@torch.no_grad()
def test_shapes() -> None:
    output = tiny_network().eval()(random_tensor(3, 3, 48, 64), SIZES, top_queries(5))
    assert [tuple(tensor.shape) for tensor in outputs(output)] == [
        (2, 3, 7, THINGS),
        (2, 3, 7, 4),
        (2, 3, 5, 12, 16),
        (1, 3, 5, 32),
        (3, 3, STUFF, 12, 16),
        (2, 3, STUFF, 32),
        (2, 3, STUFF),
    ]
    assert output.location.states.shape == (2, 3, 7, 32)
    assert output.location.initial_reference.shape == (3, 7, 2)
    assert output.selection.indices.shape == (3, 5)


@torch.no_grad()
def test_a_batch_of_equal_sizes_is_each_image_alone() -> None:
    network = tiny_network().eval()
    images = random_tensor(3, 3, 48, 64)
    together = network(images, None, top_queries(5))
    for position in range(3):
        alone = network(images[position : position + 1], ((48, 64),), top_queries(5))
        for batched, single in zip(outputs(together), outputs(alone), strict=True):
            torch.testing.assert_close(batched[:, position : position + 1], single, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("selected", [4, 0])
def test_padded_batches_train_every_parameter(selected: int) -> None:
    """Every parameter takes part even without a selected query, as DDP requires."""
    network = tiny_network().train()
    output = network(random_tensor(3, 3, 48, 64), SIZES, top_queries(selected))
    torch.autograd.backward([part.sum() for part in outputs(output)])
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


def test_bfloat16_autocast_trains() -> None:
    """Places are computed in float32, or boxes and samples would snap to a coarse grid."""
    network = tiny_network().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(random_tensor(3, 3, 48, 64), SIZES, top_queries(4))
    assert output.location.boxes.dtype == torch.float32
    torch.autograd.backward([part.float().sum() for part in outputs(output)])
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


def test_masks_teach_the_location_decoder() -> None:
    network = tiny_network()
    network(random_tensor(1, 3, 48, 64), None, top_queries(4)).query_masks.masks.sum().backward()
    gradient = network.location_decoder.layers[0].get_parameter("cross_attention.value_proj.weight").grad
    assert gradient is not None
    assert gradient.any()


def test_a_refined_box_does_not_teach_the_layer_before() -> None:
    network = tiny_network()
    network(random_tensor(1, 3, 48, 64), None, top_queries(4)).location.boxes[-1].sum().backward()
    first, last = (head.get_parameter("4.weight").grad for head in network.location_decoder.place_heads)
    assert first is not None
    assert last is not None
    assert not first.any()
    assert last.any()


def test_same_seed_same_weights() -> None:
    def weights() -> torch.Tensor:
        torch.manual_seed(3)
        return nn.utils.parameters_to_vector(PanopticSegFormer(TINY, THINGS, STUFF).parameters())

    assert torch.equal(weights(), weights())


def test_published_start() -> None:
    """Nearly nothing is an object, and boxes are small ones around the reference points."""
    network = PanopticSegFormer(TINY, THINGS, STUFF).eval()
    with torch.no_grad():
        location = network(random_tensor(1, 3, 48, 64), None, top_queries(4)).location
    assert location.initial_reference is not None
    torch.testing.assert_close(location.boxes[0, ..., :2], location.initial_reference)
    torch.testing.assert_close(location.boxes[0, ..., 2:], torch.full((1, 7, 2), -2.0).sigmoid())
    torch.testing.assert_close(location.boxes[1], location.boxes[0])
    assert isinstance(network.stuff_masks, StuffMaskDecoder)
    heads = [*network.location_decoder.class_heads, *network.stuff_masks.class_heads]
    biases = [head.get_parameter("bias") for head in heads]
    torch.testing.assert_close(torch.cat(biases).sigmoid(), torch.full((2 * THINGS + 2,), 0.01))


@pytest.mark.parametrize(("norm", "frozen_stages"), [("frozen", 1), ("frozen", 0), ("batch", 1), ("batch", 0)])
def test_freezing(norm: str, frozen_stages: int) -> None:
    config = replace(TINY, backbone_norm=norm, frozen_stages=frozen_stages)
    backbone = tiny_network(config).backbone.train()
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    backbone(random_tensor(2, 3, 48, 64))
    moved = {name for name, tensor in backbone.state_dict().items() if not torch.equal(tensor, before[name])}
    frozen = {name for name, parameter in backbone.named_parameters() if not parameter.requires_grad}
    early = {name for name in before if name.startswith(("body.embedder.", "body.encoder.stages.0."))}
    norms = {name for name in before if ".normalization." in name}
    expected = (early if frozen_stages else set()) | (norms if norm == "frozen" else set())
    assert frozen == {name for name, _ in backbone.named_parameters()} & expected
    assert moved == {name for name in norms - expected if "running" in name or "batches" in name}


@pytest.mark.parametrize(("things", "stuff"), [(0, 2), (3, 0)])
def test_both_kinds_of_classes_are_needed(things: int, stuff: int) -> None:
    with pytest.raises(ValueError, match=f"{things} thing and {stuff} stuff categories"):
        PanopticSegFormer(TINY, things, stuff)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": "vgg"}, "model.backbone is 'vgg'; expected one of"),
        ({"frozen_stages": 9}, "model.frozen_stages is 9"),
        ({"frozen_stages": -1}, "model.frozen_stages is -1"),
        ({"channels": 33}, "model.channels is 33; expected a multiple of 32"),
        ({"heads": 5}, "model.heads is 5; expected a divisor of channels = 32"),
        ({"levels": 2}, "model.levels is 2; give at least 3"),
        ({"queries": 0}, "model.queries is 0; give at least 1"),
        ({"dropout": 1.0}, "model.dropout is 1.0"),
        ({"backbone_norm": "layer"}, "model.backbone_norm is 'layer'; choose one of"),
        ({"query_initialization": "grid"}, "model.query_initialization is 'grid'; choose one of"),
    ],
)
def test_impossible_sizes(change: dict[str, str | int | float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PanopticSegFormer(NetworkConfig(**{**vars(TINY), **change}), THINGS, STUFF)


@pytest.mark.parametrize("levels", [3, 5])
@torch.no_grad()
def test_other_numbers_of_levels(levels: int) -> None:
    network = tiny_network(replace(TINY, levels=levels)).eval()
    output = network(random_tensor(1, 3, 64, 128), None, top_queries(2))
    assert output.memory.spatial_shapes == ((16, 32), (8, 16), (4, 8), (2, 4), (1, 2))[:levels]
