"""The baselines' mask head: the published sizes, and each query and image for itself."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import model.network.baselines.fpn_mask_head
from model.network.baselines.fpn_mask_head import FpnMaskDecoder
from model.network.config import NetworkConfig
from model.network.outputs import MaskOutput, Memory
from tests.model.network.tiny_network import TINY, random_tensor

SMALL = replace(TINY, stuff="joint", mask_head="fpn")
FINER = (20, 24)
LEVEL = 2


def decoder() -> FpnMaskDecoder:
    torch.manual_seed(0)
    return FpnMaskDecoder(SMALL, FINER)


def memory(batch: int = 2) -> Memory:
    """Levels of odd sizes; the mask head looks at the third."""
    shapes = ((11, 14), (6, 7), (3, 4), (2, 2))
    tokens = sum(height * width for height, width in shapes)
    states, position = (random_tensor(batch, tokens, SMALL.channels, seed=seed) for seed in (0, 1))
    mask = torch.zeros(batch, tokens, dtype=torch.bool)
    return Memory(states, position, mask, shapes, torch.ones(batch, len(shapes), 2))


def maps(batch: int = 2) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Projected features of the third level, and the finer maps."""
    finer = (random_tensor(batch, FINER[0], 11, 14, seed=3), random_tensor(batch, FINER[1], 6, 7, seed=4))
    return random_tensor(batch, SMALL.channels, 3, 4, seed=2), finer


def run(head: FpnMaskDecoder, queries: Tensor, seen: Memory) -> MaskOutput:
    output: MaskOutput = head.decode_masks(queries, seen, LEVEL, *maps(len(queries)))
    return output


def test_published_size() -> None:
    """Layer by layer as DETR's panoptic head on ResNet-50."""
    config = NetworkConfig(stuff="joint", attention="dense", mask_head="fpn", feedforward=2048, queries=100)
    with torch.device("meta"):
        head = FpnMaskDecoder(config, (256, 512, 1024))
    convolutions = [part for part in head.modules() if isinstance(part, nn.Conv2d)]
    counts = [sum(parameter.numel() for parameter in part.parameters()) for part in convolutions]
    expected = [627_528, 304_256, 131_200, 32_832, 8_224, 73_792, 18_464, 4_624, 145]
    assert counts == expected
    norms = 2 * (264 + 128 + 64 + 32 + 16)
    assert sum(parameter.numel() for parameter in head.parameters()) == sum(expected) + norms + 2 * 65_792


@torch.no_grad()
def test_masks_have_the_size_of_the_finest_map() -> None:
    output = run(decoder(), random_tensor(2, 5, SMALL.channels), memory())
    assert output.masks.shape == (1, 2, 5, 11, 14)
    assert output.queries.shape == (0, 2, 5, SMALL.channels)
    assert ((output.masks > 0) & (output.masks < 1)).all()


@torch.no_grad()
def test_as_written_query_by_query() -> None:
    """One query and image at a time, in DETR's words, from its attention to its mask."""
    head, queries, seen = decoder(), random_tensor(2, 3, SMALL.channels), memory()
    projected, (finest, finer) = maps()
    start = 11 * 14 + 6 * 7
    key = head.k(seen.tokens[:, start : start + 12])
    width = SMALL.channels // SMALL.heads
    found = head.decode_masks(queries, seen, LEVEL, projected, (finest, finer)).masks[0]
    for image in range(2):
        for number in range(3):
            query = head.q(queries[image, number]) / width**0.5
            products = (query * key[image]).unflatten(-1, (SMALL.heads, width)).sum(-1).T
            attention = products.flatten().softmax(0).view(SMALL.heads, 3, 4) * products.numel()
            x = head.first(torch.cat((projected[image], attention))[None])
            for refine, adapter, feature in zip(head.refinements, head.adapters, (finer, finest), strict=True):
                larger = F.interpolate(x, feature.shape[-2:], mode="nearest")
                x = refine(adapter(feature[image : image + 1]) + larger)
            expected = head.last(x).sigmoid()[0, 0]
            torch.testing.assert_close(found[image, number], expected, atol=1e-5, rtol=1e-5)


def test_no_queries_no_masks_and_still_a_gradient() -> None:
    head = decoder()
    with torch.no_grad():
        assert run(head, torch.zeros(2, 0, SMALL.channels), memory()).masks.shape == (1, 2, 0, 11, 14)
    output = run(head, torch.zeros(2, 0, SMALL.channels), memory())
    assert output.masks.shape == (1, 2, 0, 11, 14)
    gradients = torch.autograd.grad(output.masks.sum(), list(head.parameters()))
    assert not any(gradient.any() for gradient in gradients)


@torch.no_grad()
def test_each_query_and_image_for_itself() -> None:
    head, queries, seen = decoder(), random_tensor(2, 5, SMALL.channels), memory()
    together = run(head, queries, seen).masks
    torch.testing.assert_close(run(head, queries[:, 3:4], seen).masks, together[:, :, 3:4], atol=1e-5, rtol=1e-5)
    one = replace(seen, tokens=seen.tokens[1:], padding_mask=None)
    projected, finer = maps()
    alone = head.decode_masks(queries[1:], one, LEVEL, projected[1:], tuple(part[1:] for part in finer)).masks
    torch.testing.assert_close(alone, together[:, 1:], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    head, queries, seen = decoder(), random_tensor(2, 5, SMALL.channels), memory()
    whole = run(head, queries, seen).masks
    monkeypatch.setattr(model.network.baselines.fpn_mask_head, "CHUNK", 2)
    torch.testing.assert_close(run(head, queries, seen).masks, whole, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_padded_tokens_get_no_attention() -> None:
    head, queries, seen = decoder(), random_tensor(2, 5, SMALL.channels), memory()
    start = 11 * 14 + 6 * 7
    padding = torch.zeros(seen.tokens.shape[:2], dtype=torch.bool)
    padding[:, start + 3 : start + 12 : 4] = True  # the last column of the level
    seen = replace(seen, padding_mask=padding)
    spoiled = torch.where(padding[..., None], 9.0, seen.tokens)
    torch.testing.assert_close(run(head, queries, replace(seen, tokens=spoiled)).masks, run(head, queries, seen).masks)
    attention = head.attention(queries, seen, LEVEL)
    assert not attention[..., -1].any()
    torch.testing.assert_close(attention.flatten(2).mean(-1), torch.ones(2, 5))


def test_every_parameter_learns() -> None:
    head = decoder()
    masks = run(head, random_tensor(2, 5, SMALL.channels), memory()).masks
    for gradient in torch.autograd.grad(masks.square().sum(), list(head.parameters())):
        assert gradient.isfinite().all()
        assert gradient.any()
