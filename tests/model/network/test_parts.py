"""Properties of the network's parts, each against a formulation of its own."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from model.network.deformable import DeformableAttention
from model.network.encoder import Encoder
from model.network.layers import inverse_sigmoid
from model.network.location_decoder import refine
from model.network.mask_decoder import MaskDecoder, MaskReader
from model.network.positions import padding_mask, pixel_centers, resize_mask, sine_position, valid_ratio
from model.network.queries import gather_queries, top_queries
from tests.model.network.tiny_network import SHAPES, TINY, random_memory, random_tensor


def test_padding_mask_and_ratios() -> None:
    mask = padding_mask(((8, 4), (2, 6)), 8, 6, torch.device("cpu"))
    assert (~mask).sum((1, 2)).tolist() == [32, 12]
    assert not mask[1, :2].any()
    torch.testing.assert_close(valid_ratio(mask), torch.tensor([[4 / 6, 1.0], [1.0, 2 / 8]]))
    assert resize_mask(mask, (4, 3))[1].tolist() == [[False] * 3] + [[True] * 3] * 3


@pytest.mark.parametrize("size", [(0, 3), (9, 3), (3, 7)])
def test_images_must_fit_their_batch(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"image 1 of the batch is .* at most the batch's 8 x 6"):
        padding_mask(((8, 6), size), 8, 6, torch.device("cpu"))


def test_sine_position_of_one_pixel() -> None:
    """Row 2 of 5, column 0 of 3: each (sin, cos) pair of channels has one frequency; y comes first."""
    position = sine_position(torch.zeros(1, 5, 3, dtype=torch.bool), 8)[0, 2, 0]
    expected = []
    for place, last in ((2.5, 5), (0.5, 3)):
        for frequency in (1.0, 10_000**0.5):
            angle = place / (last + 1e-6) * 2 * math.pi / frequency
            expected += [math.sin(angle), math.cos(angle)]
    torch.testing.assert_close(position, torch.tensor(expected), atol=1e-6, rtol=1e-5)


def test_pixel_centers_stay_in_the_image() -> None:
    ratios = torch.tensor([[[0.5, 1.0], [0.5, 1.0]]])
    centers = pixel_centers(((2, 4), (1, 2)), ratios)
    assert centers.shape == (1, 10, 2, 2)
    torch.testing.assert_close(centers[0, 0, 0], torch.tensor([0.125, 0.25]))
    torch.testing.assert_close(centers[0, 8, 1], torch.tensor([0.25, 0.5]))
    assert (centers[0, :2, 0, 0] <= 0.5).all()


@torch.no_grad()
def test_padded_tokens_do_not_reach_the_image() -> None:
    """Whatever lies in the padding, the encoder's tokens of the image stay the same."""
    encoder = Encoder(TINY).eval()
    levels = [random_tensor(1, TINY.channels, *shape, seed=seed) for seed, shape in enumerate(SHAPES)]
    memory = encoder(levels, ((24, 20),), (48, 64))
    masks = memory.padding_mask.split([height * width for height, width in SHAPES], dim=1)
    spoiled = [
        torch.where(mask.view(1, 1, *shape), 7.0, level)
        for level, mask, shape in zip(levels, masks, SHAPES, strict=True)
    ]
    again = encoder(spoiled, ((24, 20),), (48, 64))
    assert memory.padding_mask.any()
    image = ~memory.padding_mask
    torch.testing.assert_close(again.tokens[image], memory.tokens[image])
    assert not torch.equal(again.tokens, memory.tokens)


@torch.no_grad()
def test_nothing_is_masked_where_nothing_is_padded() -> None:
    encoder, attention = Encoder(TINY).eval(), DeformableAttention(TINY)
    levels = [random_tensor(2, TINY.channels, *shape, seed=seed) for seed, shape in enumerate(SHAPES)]
    for sizes in (None, ((48, 64), (48, 64))):
        assert encoder(levels, sizes, (48, 64)).padding_mask is None
    for sizes in (((48, 64), (47, 64)), ((40, 64), (40, 64))):
        assert encoder(levels, sizes, (48, 64)).padding_mask is not None
    memory = random_memory(batch=1)
    unpadded = torch.zeros(memory.tokens.shape[:2], dtype=torch.bool)
    queries, references = random_tensor(1, 5, TINY.channels), torch.rand(1, 5, len(SHAPES), 2)
    masked, plain = (attention(queries, references, memory.tokens, mask, SHAPES) for mask in (unpadded, None))
    assert torch.equal(masked, plain)


@torch.no_grad()
def test_box_references_scale_the_offsets() -> None:
    """A box two pixels wide and high moves the samples as far as offsets in pixels of a point / P do."""
    attention = DeformableAttention(TINY)
    memory = random_memory(batch=1)
    points = torch.rand(1, 5, 1, 2).expand(-1, -1, len(SHAPES), -1)
    sizes = torch.tensor([(2 / width, 2 / height) for height, width in SHAPES]) * TINY.points
    boxes = torch.cat((points, sizes.expand(1, 5, -1, -1)), dim=-1)
    queries = random_tensor(1, 5, TINY.channels)
    by_point, by_box = (
        attention(queries, references, memory.tokens, memory.padding_mask, SHAPES) for references in (points, boxes)
    )
    torch.testing.assert_close(by_box, by_point)


def test_refine() -> None:
    boxes, point = torch.rand(5, 4), torch.rand(5, 2)
    correction = random_tensor(5, 4)
    torch.testing.assert_close(refine(boxes, torch.zeros(5, 4)), boxes, atol=1e-4, rtol=1e-4)
    refined = refine(point, correction)
    torch.testing.assert_close(refined[:, :2], (correction[:, :2] + torch.logit(point)).sigmoid())
    torch.testing.assert_close(refined[:, 2:], correction[:, 2:].sigmoid())
    assert inverse_sigmoid(torch.tensor([-1.0, 0.0, 1.0, 2.0])).isfinite().all()


@torch.no_grad()
def test_masks_as_the_paper_joins_them() -> None:
    """Resize all heads of all levels, concatenate, then mix: the order of the text, not of the code."""
    head = MaskReader(TINY)
    memory = random_memory()
    shapes = SHAPES[:3]
    tokens = memory.tokens[:, : sum(height * width for height, width in shapes)]
    masks, scores = head(random_tensor(2, 5, TINY.channels), tokens, shapes)
    maps, start = [], 0
    for (height, width), mix in zip(shapes, head.levels, strict=True):
        level = scores[..., start : start + height * width].permute(0, 2, 3, 1)
        weight, bias = mix.get_parameter("weight"), mix.get_parameter("bias")
        mixed = F.linear(level, weight, bias).relu().permute(0, 1, 3, 2).reshape(-1, TINY.heads, height, width)
        maps.append(F.interpolate(mixed, size=shapes[0], mode="bilinear", align_corners=False))
        start += height * width
    joined = F.linear(torch.cat(maps, dim=1).permute(0, 2, 3, 1), head.join.weight, head.join.bias).relu()
    torch.testing.assert_close(masks, joined[..., 0].view(2, 5, *shapes[0]))


@torch.no_grad()
def test_query_position_accumulates() -> None:
    """It is added at the entry of every block and of the tail, so moving it into the query needs it once less."""
    decoder = MaskDecoder(TINY, blocks=1, self_attention=True)
    memory = random_memory()
    queries, position = random_tensor(2, 5, TINY.channels), random_tensor(5, TINY.channels, seed=1)
    with_position = decoder.decode_masks(queries, memory, position)
    moved = decoder.decode_masks(queries + position, memory)
    torch.testing.assert_close(with_position.masks[0], moved.masks[0])
    tail, _ = decoder.tail(moved.queries[0] + position, memory.tokens[:, :64], SHAPES[:3])
    torch.testing.assert_close(with_position.masks[1], tail)


NO_PLACES = torch.zeros(1, 3, 6, 4)


def test_top_queries() -> None:
    logits = random_tensor(3, 6, 4)
    selection = top_queries(5)(logits, NO_PLACES)
    for image in range(3):
        ranked = sorted((-logits[image, q, c].item(), q, c) for q in range(6) for c in range(4))[:5]
        assert selection.indices[image].tolist() == [query for _, query, _ in ranked]
        assert selection.labels[image].tolist() == [label for _, _, label in ranked]
        torch.testing.assert_close(selection.scores[image], torch.tensor([-x for x, _, _ in ranked]).sigmoid())
    assert selection.valid.all()
    assert top_queries(99)(logits, NO_PLACES).indices.shape == (3, 24)


def test_gather_queries() -> None:
    states = random_tensor(2, 6, 4)
    selection = top_queries(5)(random_tensor(2, 6, 3), NO_PLACES)
    gathered = gather_queries(states, selection)
    for image, indices in enumerate(selection.indices):
        assert torch.equal(gathered[image], states[image, indices])


def test_layer_norm_eps_as_published() -> None:
    """The recordings do not pin them."""
    decoder = MaskDecoder(TINY, blocks=1, self_attention=True)
    norms = [part for part in decoder.modules() if isinstance(part, nn.LayerNorm)]
    assert [norm.eps for norm in norms] == [1e-6] * 3
    assert {part.eps for part in Encoder(TINY).modules() if isinstance(part, nn.LayerNorm)} == {1e-5}
