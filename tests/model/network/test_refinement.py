"""Masks that are refined by a read-out of the pixels: where they start, what they see, and what trains them."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from model.network.config import NetworkConfig
from model.network.outputs import Refinement
from model.network.panoptic_segformer import PanopticSegFormer
from model.training.criterion import LossWeights, SegmentCounts, panoptic_losses
from model.training.matcher import MatchedQueries
from tests.model.network.tiny_network import TINY, random_tensor
from tests.model.training.synthetic import NETWORK, network, random_batch

REFINED = replace(NETWORK, mask_refinement="stem")
by_stuff = pytest.mark.parametrize("stuff", ["decoupled", "joint", "none"])


def pair(stuff: str) -> tuple[PanopticSegFormer, PanopticSegFormer]:
    """A network without refinement, and one with, which have all other weights in common."""
    plain, refined = network(replace(NETWORK, stuff=stuff)).eval(), network(replace(REFINED, stuff=stuff)).eval()
    missing, unexpected = refined.load_state_dict(plain.state_dict(), strict=False)
    assert all(name.startswith("refine.") for name in missing)
    assert not unexpected
    return plain, refined


@by_stuff
def test_at_first_they_are_the_enlarged_masks_of_the_attention(stuff: str) -> None:
    plain, refined = (one.segment(random_tensor(2, 3, 64, 96)) for one in pair(stuff))
    assert torch.equal(plain.query_masks.masks, refined.query_masks.masks)
    for theirs, ours in ((plain.query_masks, refined.query_masks), (plain.stuff, refined.stuff)):
        if theirs is None or ours is None:
            assert theirs is ours
            continue
        enlarged = F.interpolate(theirs.final(), size=(32, 48), mode="bilinear", align_corners=False)
        torch.testing.assert_close(ours.final(), (4 * (enlarged - 0.5)).sigmoid())
        chosen = torch.tensor([1, 0])
        torch.testing.assert_close(ours.final_of(1, chosen), ours.final()[1, chosen])


def test_odd_sides_have_half_a_pixel_more() -> None:
    _, refined = pair("decoupled")
    assert refined.segment(random_tensor(1, 3, 65, 97)).query_masks.final().shape[-2:] == (33, 49)


def test_a_query_selects_pixels_by_a_product() -> None:
    pixels, queries = random_tensor(2, 4, 6, 8), random_tensor(2, 3, 4, seed=1)
    masks = torch.full((2, 3, 3, 4), 0.75)
    found = Refinement(pixels, queries).logits(masks)
    torch.testing.assert_close(found[1, 2, 5, 7], 4 * 0.25 + queries[1, 2] @ pixels[1, :, 5, 7])


def test_losses_train_the_stem_through_things_and_stuff() -> None:
    model, batch = network(REFINED), random_batch(0, (2, 0, 3))
    counts = SegmentCounts.of(batch.targets)
    output = model(batch.images, batch.image_sizes, MatchedQueries(batch.targets))
    terms = panoptic_losses(output, batch.targets, counts, LossWeights())
    added = [name for name in terms if "refined" in name]
    assert added == ["queries_refined_dice", "queries_refined_pixels", "stuff_refined_dice", "stuff_refined_pixels"]
    torch.autograd.backward(torch.stack([terms[name] for name in added]).sum())
    for decoder in ("query", "stuff"):
        gradient = model.get_parameter(f"refine.{decoder}_pixels.weight").grad
        assert gradient is not None
        assert gradient.abs().max() > 0


def test_losses_of_images_without_segments_are_finite() -> None:
    model, batch = network(REFINED), random_batch(1, (0,))
    output = model(batch.images, None, MatchedQueries(batch.targets))
    terms = panoptic_losses(output, batch.targets, SegmentCounts.of(batch.targets), LossWeights())
    assert terms["queries_refined_dice"] == terms["queries_refined_pixels"] == 0
    assert torch.stack(list(terms.values())).isfinite().all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (replace(TINY, mask_head="fpn", stuff="joint"), "mask_head is 'fpn'; expected attention with mask_refinement"),
        (replace(TINY, family="eomt"), "mask_refinement is 'stem'; expected none with the family 'eomt'"),
        (replace(TINY, classes_from="masks"), "classes_from is 'masks'; expected location with mask_refinement"),
    ],
)
def test_networks_that_have_nothing_to_refine_are_refused(changed: NetworkConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(changed, mask_refinement="stem")
