"""DETR's parts, against torch's own layers and the sizes of the published network."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.baselines.detr import CoarsestLevel, DenseEncoder, DenseEncoderLayer, DenseLocationLayer
from model.network.config import NetworkConfig
from model.network.outputs import Memory
from tests.model.network.tiny_network import TINY, random_tensor

DETR = NetworkConfig(stuff="joint", attention="dense", mask_head="fpn", feedforward=2048, queries=100)
SMALL = replace(TINY, stuff="joint", attention="dense", mask_head="fpn")


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def memory_of(tokens: Tensor, position: Tensor, mask: Tensor) -> Memory:
    return Memory(tokens, position, mask, ((1, tokens.shape[1]),), torch.ones(len(tokens), 1, 2))


def test_layers_have_the_published_sizes() -> None:
    with torch.device("meta"):
        assert parameters(DenseEncoderLayer(DETR)) == 1_315_072
        assert parameters(DenseLocationLayer(DETR)) == 1_578_752
        assert parameters(CoarsestLevel((512, 1024, 2048), DETR)) == 2048 * 256 + 256


@torch.no_grad()
def test_encoder_layer_is_torchs_where_there_is_no_position() -> None:
    ours = DenseEncoderLayer(SMALL).eval()
    theirs = nn.TransformerEncoderLayer(SMALL.channels, SMALL.heads, SMALL.feedforward, batch_first=True).eval()
    theirs.self_attn.load_state_dict(ours.attention.state_dict())
    theirs.linear1.load_state_dict(ours.feedforward.expand.state_dict())
    theirs.linear2.load_state_dict(ours.feedforward.contract.state_dict())
    theirs.norm1.load_state_dict(ours.norm.state_dict())
    theirs.norm2.load_state_dict(ours.feedforward.norm.state_dict())
    tokens, mask = random_tensor(2, 9, SMALL.channels), torch.arange(9).expand(2, -1) >= 7
    found = ours(tokens, torch.zeros_like(tokens), mask)
    torch.testing.assert_close(found[~mask], theirs(tokens, src_key_padding_mask=mask)[~mask], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_location_layer_is_torchs_where_there_is_no_position() -> None:
    ours = DenseLocationLayer(SMALL).eval()
    theirs = nn.TransformerDecoderLayer(SMALL.channels, SMALL.heads, SMALL.feedforward, batch_first=True).eval()
    theirs.self_attn.load_state_dict(ours.self_attention.state_dict())
    theirs.multihead_attn.load_state_dict(ours.cross_attention.state_dict())
    theirs.linear1.load_state_dict(ours.feedforward.expand.state_dict())
    theirs.linear2.load_state_dict(ours.feedforward.contract.state_dict())
    for name, norm in (("norm1", ours.self_norm), ("norm2", ours.cross_norm), ("norm3", ours.feedforward.norm)):
        theirs.get_submodule(name).load_state_dict(norm.state_dict())
    states, tokens = random_tensor(2, 5, SMALL.channels), random_tensor(2, 9, SMALL.channels, seed=1)
    mask = torch.arange(9).expand(2, -1) >= 7
    nowhere = torch.zeros_like(states)
    found = ours(states, nowhere, None, memory_of(tokens, torch.zeros_like(tokens), mask))
    expected = theirs(states, tokens, memory_key_padding_mask=mask)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_positions_enter_queries_and_keys_and_not_values() -> None:
    """Both layers, written out with one product a step."""
    encoder_layer, location_layer = DenseEncoderLayer(SMALL).eval(), DenseLocationLayer(SMALL).eval()
    tokens, position = random_tensor(2, 9, SMALL.channels), random_tensor(2, 9, SMALL.channels, seed=1)
    mask = torch.arange(9).expand(2, -1) >= 7
    attended = plain_attention(encoder_layer.attention, tokens + position, tokens + position, tokens, mask)
    expected = encoder_layer.feedforward(encoder_layer.norm(tokens + attended))
    torch.testing.assert_close(encoder_layer(tokens, position, mask), expected, atol=1e-5, rtol=1e-5)

    states, place = random_tensor(2, 5, SMALL.channels, seed=2), random_tensor(2, 5, SMALL.channels, seed=3)
    nowhere = torch.zeros(2, 5, dtype=torch.bool)
    related = plain_attention(location_layer.self_attention, states + place, states + place, states, nowhere)
    once = location_layer.self_norm(states + related)
    attended = plain_attention(location_layer.cross_attention, once + place, tokens + position, tokens, mask)
    expected = location_layer.feedforward(location_layer.cross_norm(once + attended))
    found = location_layer(states, place, None, memory_of(tokens, position, mask))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def plain_attention(module: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Multi-head attention, head by head."""
    weights, biases = module.get_parameter("in_proj_weight").chunk(3), module.get_parameter("in_proj_bias").chunk(3)
    q, k, v = (
        F.linear(values, weight, bias).chunk(module.num_heads, dim=-1)
        for values, weight, bias in zip((query, key, value), weights, biases, strict=True)
    )
    heads = []
    for head in range(module.num_heads):
        scores = q[head] @ k[head].mT / q[head].shape[-1] ** 0.5
        heads.append(scores.masked_fill(mask[:, None], -torch.inf).softmax(-1) @ v[head])
    joined: Tensor = module.out_proj(torch.cat(heads, dim=-1))
    return joined


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 96), (33, 47)])
def test_padding_does_not_change_the_image(size: tuple[int, int]) -> None:
    """A padded image has the valid tokens that it has alone; its level is cut from the padded one."""
    encoder = DenseEncoder(SMALL).eval()
    height, width = -(-size[0] // 16), -(-size[1] // 16)
    level = random_tensor(1, SMALL.channels, height, width)
    padded = torch.full((1, SMALL.channels, height + 2, width + 1), 5.0)
    padded[..., :height, :width] = level
    alone = encoder([level], ((height * 16, width * 16),), (height * 16, width * 16))
    together = encoder([padded], ((height * 16, width * 16),), (height * 16 + 32, width * 16 + 16))
    assert together.padding_mask.sum() == (height + 2) * (width + 1) - height * width
    torch.testing.assert_close(together.tokens[~together.padding_mask], alone.tokens[0], atol=1e-5, rtol=1e-5)
    ratios = torch.tensor([[[width / (width + 1), height / (height + 2)]]])
    torch.testing.assert_close(together.valid_ratios, ratios)


@torch.no_grad()
def test_padding_reaches_no_token_of_the_image() -> None:
    encoder, layer = DenseEncoder(SMALL).eval(), DenseLocationLayer(SMALL).eval()
    level = random_tensor(2, SMALL.channels, 3, 5)
    sizes = ((48, 80), (20, 50))
    memory = encoder([level], sizes, (48, 80))
    spoiled = torch.where(memory.padding_mask.view(2, 1, 3, 5), 7.0, level)
    again = encoder([spoiled], sizes, (48, 80))
    image = ~memory.padding_mask
    assert image.sum(1).tolist() == [15, 8]
    torch.testing.assert_close(again.tokens[image], memory.tokens[image])
    assert not torch.equal(again.tokens, memory.tokens)
    states, place = random_tensor(2, 4, SMALL.channels, seed=1), random_tensor(2, 4, SMALL.channels, seed=2)
    torch.testing.assert_close(layer(states, place, None, again), layer(states, place, None, memory))


@torch.no_grad()
def test_a_batch_of_equal_sizes_is_each_alone() -> None:
    encoder, layer = DenseEncoder(SMALL).eval(), DenseLocationLayer(SMALL).eval()
    level, states = random_tensor(2, SMALL.channels, 3, 5), random_tensor(2, 4, SMALL.channels, seed=1)
    place = random_tensor(2, 4, SMALL.channels, seed=2)
    together = encoder([level], ((48, 80),) * 2, (48, 80))
    located = layer(states, place, None, together)
    for image in range(2):
        one = slice(image, image + 1)
        alone = encoder([level[one]], ((48, 80),), (48, 80))
        torch.testing.assert_close(alone.tokens, together.tokens[one], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(layer(states[one], place[one], None, alone), located[one], atol=1e-5, rtol=1e-5)


def test_no_queries_are_no_states() -> None:
    tokens = random_tensor(2, 9, SMALL.channels)
    memory = memory_of(tokens, tokens, torch.zeros(2, 9, dtype=torch.bool))
    none = torch.zeros(2, 0, SMALL.channels)
    assert DenseLocationLayer(SMALL)(none, none, None, memory).shape == none.shape


def test_every_parameter_learns() -> None:
    neck, encoder, layer = CoarsestLevel((8, 16), SMALL), DenseEncoder(SMALL), DenseLocationLayer(SMALL)
    levels = neck((random_tensor(2, 8, 6, 10), random_tensor(2, 16, 3, 5)))
    memory = encoder(levels, ((48, 80), (20, 50)), (48, 80))
    states, place = random_tensor(2, 4, SMALL.channels, seed=1), random_tensor(2, 4, SMALL.channels, seed=2)
    (layer(states, place, None, memory) * random_tensor(2, 4, SMALL.channels, seed=3)).sum().backward()
    for part in (neck, encoder, layer):
        for name, parameter in part.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name
