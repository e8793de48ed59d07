"""Version 1, the ablations and the baselines: each setting changes what it says, and nothing else."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from model.inference.settings import InferenceSettings, require_mask_layer
from model.network.config import NetworkConfig
from model.network.outputs import PanopticOutput
from model.network.panoptic_segformer import PanopticSegFormer
from model.network.queries import every_query, top_queries
from tests.model.network.tiny_network import STUFF, THINGS, TINY, random_tensor, tiny_network

JOINT = replace(TINY, stuff="joint")
VERSION_1 = replace(JOINT, classes_from="masks", thing_mask_layers=3)
DETR = replace(JOINT, attention="dense", mask_head="fpn")
D_DETR_MS = replace(JOINT, mask_head="fpn")


@torch.no_grad()
def run(config: NetworkConfig, mask_layer: int = 0, selected: int = 5) -> PanopticOutput:
    torch.manual_seed(0)
    network = tiny_network(config).eval()
    output: PanopticOutput = network(random_tensor(2, 3, 48, 64), None, top_queries(selected), mask_layer)
    return output


@pytest.mark.parametrize("config", [JOINT, DETR, D_DETR_MS], ids=["joint", "detr", "d_detr_ms"])
def test_joint_queries_know_all_classes(config: NetworkConfig) -> None:
    output = run(config)
    assert output.location.class_logits is not None
    assert output.location.class_logits.shape == (2, 2, 7, THINGS + STUFF)
    assert output.location.boxes.shape == (2, 2, 7, 4)
    assert output.stuff is None
    assert output.stuff_logits is None
    assert output.num_things == THINGS
    assert output.query_masks.masks.shape[1:3] == (2, 5)
    assert (output.query_masks.masks >= 0).all()


def test_mask_heads_of_the_baselines_end_at_the_finest_map() -> None:
    """The small backbone's strides are 4, 8, 16."""
    for config in (DETR, D_DETR_MS):
        masks = run(config).query_masks.masks
        assert masks.shape == (1, 2, 5, 12, 16)
        assert (masks <= 1).all()


def test_without_stuff_there_is_no_stuff() -> None:
    output = run(replace(TINY, stuff="none"))
    assert output.stuff is None
    assert output.location.class_logits is not None
    assert output.location.class_logits.shape[-1] == THINGS
    assert not any("stuff" in name for name in tiny_network(replace(TINY, stuff="none")).state_dict())


def test_classes_from_masks_belong_to_the_queries_whose_masks_are_taken() -> None:
    output = run(VERSION_1)
    assert output.location.class_logits is None
    assert output.query_class_logits is not None
    assert output.query_class_logits.shape == (3, 2, 7, THINGS + STUFF)
    assert output.query_masks.masks.shape == (4, 2, 7, 12, 16)
    selection = output.selection
    assert torch.equal(selection.mask_indices, selection.indices)
    for image in range(2):
        for query, label, score in zip(
            selection.indices[image], selection.labels[image], selection.scores[image], strict=True
        ):
            torch.testing.assert_close(output.query_class_logits[-1, image, query, label].sigmoid(), score)


def test_where_the_location_decoder_classifies_slots_count_the_selection() -> None:
    output = run(TINY)
    assert output.selection.mask_indices.tolist() == [list(range(5))] * 2


def test_no_location_layers_leave_the_queries_as_they_start() -> None:
    output = run(replace(TINY, location_layers=0, classes_from="masks"))
    assert len(output.location.boxes) == len(output.location.states) == 0
    network = tiny_network(replace(TINY, location_layers=0, classes_from="masks"))
    content = network.get_parameter("queries.embedding.weight")[:, TINY.channels :]
    torch.testing.assert_close(output.location.queries, content.expand(2, -1, -1))
    assert output.query_class_logits is not None
    assert output.query_class_logits.shape == (1, 2, 7, THINGS)
    assert output.stuff is not None


@pytest.mark.parametrize(("target", "numbers"), [("center", 2), ("center_scale", 3)])
@pytest.mark.parametrize("start", ["learned", "encoder"])
def test_without_boxes_locations_are_points(start: str, target: str, numbers: int) -> None:
    output = run(replace(TINY, location_target=target, query_initialization=start))
    assert output.location.boxes.shape == (2, 2, 7, numbers)
    assert ((output.location.boxes > 0) & (output.location.boxes < 1)).all()


@pytest.mark.parametrize("layer", [1, 2])
def test_masks_can_be_read_out_of_any_block(layer: int) -> None:
    """The masks and stuff classes are those that the whole decoder has after this block on its way to the end."""
    config = replace(TINY, thing_mask_layers=2, stuff_mask_layers=3)
    whole, part = run(config), run(config, layer)
    assert whole.stuff is not None
    assert part.stuff is not None
    assert whole.stuff_logits is not None
    assert part.stuff_logits is not None
    torch.testing.assert_close(part.query_masks.masks[-1], whole.query_masks.masks[layer - 1])
    torch.testing.assert_close(part.stuff.masks[-1], whole.stuff.masks[layer - 1])
    torch.testing.assert_close(part.stuff_logits[-1], whole.stuff_logits[layer - 1])


def test_a_layer_that_one_decoder_does_not_have_is_its_end() -> None:
    config = replace(TINY, thing_mask_layers=1, stuff_mask_layers=3)
    whole, part = run(config), run(config, 2)
    torch.testing.assert_close(part.query_masks.masks, whole.query_masks.masks)


@pytest.mark.parametrize(
    ("config", "layer", "message"),
    [(D_DETR_MS, 1, "'fpn' has no layers"), (TINY, 3, "have 2 layers"), (JOINT, 2, "have 1 layers")],
)
def test_layers_that_are_not_there_cannot_be_read(config: NetworkConfig, layer: int, message: str) -> None:
    require_mask_layer(InferenceSettings(mask_layer=0), config)
    with pytest.raises(ValueError, match=message):
        require_mask_layer(InferenceSettings(mask_layer=layer), config)


def test_every_query_is_selected_once() -> None:
    logits = random_tensor(2, 7, THINGS)
    selection = every_query(logits, torch.zeros(0))
    assert selection.indices.tolist() == [list(range(7))] * 2
    assert torch.equal(selection.labels, logits.argmax(-1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"location_layers": 0}, "model.classes_from is 'location'; expected masks"),
        ({"attention": "dense"}, "model.mask_head is 'attention'; expected fpn"),
        ({"mask_head": "fpn"}, "model.stuff is 'decoupled'; expected joint or none"),
        ({"mask_head": "fpn", "stuff": "joint", "classes_from": "masks"}, "model.classes_from is 'masks'"),
        ({"stuff": "shared"}, "choose one of decoupled, joint, none"),
        ({"drop_path": 1.0}, "model.drop_path is 1.0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)


@pytest.mark.parametrize(
    ("stuff", "classes", "message"),
    [("decoupled", (3, 0), "at least one of each"), ("joint", (0, 0), "at least one"), ("none", (0, 4), "one thing")],
)
def test_a_decoder_without_classes_is_refused(stuff: str, classes: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PanopticSegFormer(replace(TINY, stuff=stuff), *classes)
