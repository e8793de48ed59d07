"""Both orders of the products of attention give the same, and the cheaper one is taken."""

import pytest
import torch
from torch import nn

from model.network.attention import cross_attention, key_products, split_heads, value_sums

HEADS, CHANNELS, TOKENS = 4, 32, 50


@pytest.mark.parametrize("count", [0, 1, 10, 11, 40])  # from 11 on keys and values are made
def test_attention_is_that_of_keys_and_values(count: int) -> None:
    key, value = nn.Linear(CHANNELS, CHANNELS).double(), nn.Linear(CHANNELS, CHANNELS).double()
    query = torch.randn(2, HEADS, count, CHANNELS // HEADS, dtype=torch.float64)
    tokens = torch.randn(2, TOKENS, CHANNELS, dtype=torch.float64)
    keys, values = split_heads(key(tokens), HEADS), split_heads(value(tokens), HEADS)
    torch.testing.assert_close(key_products(query, tokens, key), query @ keys.mT)
    weights = (query @ keys.mT * (CHANNELS // HEADS) ** -0.5).softmax(-1)
    torch.testing.assert_close(value_sums(weights, tokens, value), weights @ values)
    torch.testing.assert_close(cross_attention(query, tokens, key, value), weights @ values)


@pytest.mark.parametrize(("count", "made"), [(10, False), (11, True)])
def test_keys_and_values_are_made_only_where_that_is_cheaper(count: int, made: bool) -> None:
    calls = []
    layer = nn.Linear(CHANNELS, CHANNELS)
    layer.register_forward_hook(lambda *_: calls.append(1))
    query, tokens = torch.randn(1, HEADS, count, CHANNELS // HEADS), torch.randn(1, TOKENS, CHANNELS)
    value_sums(key_products(query, tokens, layer).softmax(-1), tokens, layer)
    cross_attention(query, tokens, layer, layer)
    assert len(calls) == (4 if made else 0)
