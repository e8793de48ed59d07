"""The objective: equal to the published code's on its recorded case, and independent of how a step is split."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from benchmarks.official_parity import rules
from model.boxes import xyxy_to_cxcywh
from model.network.panoptic_segformer import PanopticSegFormer
from model.network.queries import every_query
from model.training.batch import Batch, Target
from model.training.criterion import (
    LossWeights,
    SegmentCounts,
    match_by_masks,
    match_selected,
    panoptic_losses,
    token_class_loss,
    token_segments,
)
from model.training.matcher import MatchCosts, MatchedQueries
from model.weights.official import official_key
from tests.model.conftest import OFFICIAL
from tests.model.network.tiny_network import STUFF, THINGS
from tests.model.training.official_ground_truth import make_ground_truth
from tests.model.training.synthetic import NETWORK, make_target, network, random_batch, random_target

WEIGHTS = LossWeights()


def official_target(image: int) -> tuple[Target, tuple[int, int]]:
    """The synthetic ground truth behind the recorded losses, and the image's size without padding."""
    masks, boxes, labels = map(torch.from_numpy, make_ground_truth(image))
    height, width = rules.CASE_A.valid[image]
    padded = torch.zeros(len(labels), *rules.CASE_A.batch)
    padded[:, :height, :width] = masks
    is_thing = labels < 80
    relative = xyxy_to_cxcywh(boxes / torch.tensor([width, height, width, height]))
    things, stuff = padded[is_thing], padded[~is_thing]
    target = make_target(things, labels[is_thing], relative[is_thing], stuff, labels[~is_thing] - 80)
    return target, (height, width)


def official_name(name: str) -> str:
    """The published code's name of one of our terms."""
    found = re.fullmatch(r"(location|queries|stuff)(\d+)_(\w+)", name)
    assert found
    part, layer, kind = found[1], int(found[2]), found[3]
    if part == "location":
        term = {"class": "loss_cls", "l1": "loss_bbox", "giou": "loss_iou"}[kind]
        return term if layer == 5 else f"d{layer}.{term}"
    if kind == "class":
        return f"d{layer}.loss_cls_stuff_f"
    part, tail = {"queries": ("things", 4), "stuff": ("stuff", 6)}[part]
    return f"loss_mask_{part}" if layer == tail else f"d{layer}.loss_mask_{part}_f"


@pytest.mark.parametrize("image", [0, 1])
def test_losses_and_gradients_are_the_published_ones(official_network: PanopticSegFormer, image: int) -> None:
    recorded = json.loads((OFFICIAL / "loss_r50.json").read_text())[f"img{image}"]
    target, size = official_target(image)
    images = torch.from_numpy(rules.make_input(rules.CASE_A))[image : image + 1]
    output = official_network(images, (size,), MatchedQueries((target,)))
    assert output.selection.indices[0].tolist() == recorded["matching"]["filter_pos"]
    second = match_selected(output, [target])
    assert second.queries[0].tolist() == recorded["matching"]["second_match_rows"]
    assert target.query_labels[second.segments[0]].tolist() == recorded["matching"]["second_match_labels"]

    terms = panoptic_losses(output, [target], SegmentCounts.of([target]), WEIGHTS)
    expected = {name: recorded["losses"].pop(official_name(name)) for name in terms}
    for name, value in terms.items():
        assert value.item() == pytest.approx(expected[name], rel=1e-4, abs=1e-5), name
    assert not any(recorded["losses"].values()), "only terms that the published code multiplies by 0 are left out"

    mask_losses = torch.stack([value for name, value in terms.items() if name.endswith("dice")]).sum()
    check_gradients(official_network, mask_losses, recorded["grad_norm_mask_losses_only"])


def check_gradients(network: PanopticSegFormer, loss: Tensor, recorded: Mapping[str, float | None]) -> None:
    """Norms of the gradients that flow from the mask losses back into every part, the location decoder included."""
    parameters = {official_key(name): parameter for name, parameter in network.named_parameters()}
    known = [key for key, norm in recorded.items() if key in parameters and parameters[key].requires_grad and norm]
    assert len(known) == 12
    gradients = torch.autograd.grad(loss, [parameters[key] for key in known])
    for key, gradient in zip(known, gradients, strict=True):
        assert gradient.norm().item() == pytest.approx(recorded[key], rel=1e-3), key


def losses(model: PanopticSegFormer, batch: Batch, counts: SegmentCounts) -> Tensor:
    output = model(batch.images, batch.image_sizes, MatchedQueries(batch.targets))
    return torch.stack(list(panoptic_losses(output, batch.targets, counts, WEIGHTS).values())).sum()


def test_a_step_is_the_sum_of_its_forward_passes() -> None:
    model = network()
    whole = random_batch(0, (2, 0, 3, 1))
    counts = SegmentCounts.of(whole.targets)
    parts = [
        Batch(whole.images[half], whole.image_sizes[half], whole.targets[half], whole.image_ids[half])
        for half in (slice(0, 2), slice(2, 4))
    ]
    together = losses(model, whole, counts)
    torch.testing.assert_close(together, sum(losses(model, part, counts) for part in parts))


def test_an_image_without_things_still_teaches_classes_and_stuff() -> None:
    batch = random_batch(1, (0,))
    model = network()
    output = model(batch.images, None, MatchedQueries(batch.targets))
    terms = panoptic_losses(output, batch.targets, SegmentCounts.of(batch.targets), WEIGHTS)
    assert all(torch.isfinite(value) for value in terms.values())
    assert terms["location0_class"] > 0
    assert terms["stuff0_class"] > 0
    assert terms["stuff0_dice"] > 0
    assert terms["queries0_dice"] == terms["location0_l1"] == 0


def test_an_image_without_any_segment_has_finite_losses() -> None:
    nothing, labels = torch.zeros(0, 64, 64), torch.zeros(0, dtype=torch.long)
    empty = make_target(nothing, labels, torch.zeros(0, 4), nothing, labels)
    output = network()(torch.zeros(1, 3, 64, 64), None, MatchedQueries((empty,)))
    terms = panoptic_losses(output, [empty], SegmentCounts.of([empty]), WEIGHTS)
    assert all(torch.isfinite(value) for value in terms.values())


def test_fractions_of_things_and_stuff() -> None:
    counts = SegmentCounts(images=2, things=0, stuff=4)
    assert counts.per_thing == 1
    assert counts.thing_fraction == pytest.approx(1 / 5)
    assert SegmentCounts(2, 3, 1).thing_fraction == pytest.approx(3 / 4)


def test_token_segments_are_those_at_the_middle_of_the_tokens() -> None:
    target = random_target(torch.Generator().manual_seed(5), 1)
    masks = torch.cat([target.query_masks, target.stuff_masks])
    segments = token_segments(target, ((16, 16), (8, 8)))
    assert segments.shape == (320,)
    for level, (side, step) in enumerate(((16, 4), (8, 8))):
        for row in range(side):
            for column in range(side):
                there = masks[:, row * step + step // 2, column * step + step // 2].nonzero().flatten().tolist()
                assert segments[level * 256 + row * side + column] == (there[0] if there else -1)


def test_every_segment_weighs_the_same_in_the_token_loss() -> None:
    """Logits that are wrong on one thing alone cost the same whether it is large or small."""
    config = replace(NETWORK, token_classes=True)
    losses = []
    for side in (8, 32):
        masks = torch.zeros(1, 64, 64, dtype=torch.bool)
        masks[0, :side, :side] = True
        boxes = torch.tensor([[side / 128, side / 128, side / 64, side / 64]])
        target = make_target(masks, torch.tensor([1]), boxes, ~masks, torch.tensor([0]))
        output = network(config)(torch.zeros(1, 3, 64, 64), None, MatchedQueries((target,)))
        thing = token_segments(target, output.memory.spatial_shapes) == 0
        logits = torch.where(thing[:, None], 0.0, torch.eye(THINGS + STUFF)[THINGS] * 50)
        losses.append(token_class_loss(replace(output, token_logits=logits[None]), [target]).item())
    assert losses == pytest.approx([math.log(THINGS + STUFF) / 2] * 2)


VERSION_1 = replace(NETWORK, stuff="joint", classes_from="masks")
BY_CLASS_AND_MASK = MatchCosts(class_weight=1.0, l1_weight=0.0, giou_weight=0.0, dice_weight=1.0)


def test_where_the_mask_decoder_classifies_the_costs_of_matching_are_settings() -> None:
    """Boxes count by default; with the costs of class and mask alone, which version 1 prints, they do not."""
    model, batch = network(VERSION_1), random_batch(0, (2, 3))
    output = model(batch.images, batch.image_sizes, every_query)
    nearer = replace(output, location=replace(output.location, boxes=output.location.boxes.flip(2)))
    default, other = (match_by_masks(each, batch.targets) for each in (output, nearer))
    assert not torch.equal(default.queries, other.queries)
    printed, same = (match_by_masks(each, batch.targets, BY_CLASS_AND_MASK) for each in (output, nearer))
    assert torch.equal(printed.queries, same.queries)
    counts = SegmentCounts.of(batch.targets)
    by_default, as_printed = (
        panoptic_losses(output, batch.targets, counts, WEIGHTS, deep_supervision=False, mask_matching=costs)
        for costs in (MatchCosts(giou_weight=0.0, dice_weight=2.0), BY_CLASS_AND_MASK)
    )
    assert by_default.keys() == as_printed.keys()
    assert by_default["location1_l1"] != as_printed["location1_l1"], "the pairs of the matching are those of all losses"


def test_the_factor_of_auxiliary_locations_leaves_the_last_layer_alone() -> None:
    model, batch = network(), random_batch(0, (2, 1))
    output = model(batch.images, batch.image_sizes, MatchedQueries(batch.targets))
    counts = SegmentCounts.of(batch.targets)
    every = panoptic_losses(output, batch.targets, counts, WEIGHTS)
    last = panoptic_losses(output, batch.targets, counts, replace(WEIGHTS, location_auxiliary=0.0))
    assert {name for name in every if every[name] != last[name]} == {
        "location0_class",
        "location0_l1",
        "location0_giou",
    }
    assert not any(last[name] for name in last if name.startswith("location0"))
