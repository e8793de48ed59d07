"""Both orders of the products of attention give the same, and the cheaper one is taken."""

import pytest
import torch
from torch import nn

from model.network.mask_decoder import key_products, split_heads, value_sums

HEADS, CHANNELS, TOKENS = 4, 32, 50


@pytest.mark.parametrize("count", [0, 1, 10, 11, 40])  # from 11 on keys and values are made
def test_products_and_sums_are_those_of_keys_and_values(count: int) -> None:
    layer = nn.Linear(CHANNELS, CHANNELS).double()
    query = torch.randn(2, HEADS, count, CHANNELS // HEADS, dtype=torch.float64)
    tokens = torch.randn(2, TOKENS, CHANNELS, dtype=torch.float64)
    projected = split_heads(layer(tokens), HEADS)
    scores = key_products(query, tokens, layer)
    torch.testing.assert_close(scores, query @ projected.mT)
    weights = scores.softmax(-1)
    torch.testing.assert_close(value_sums(weights, tokens, layer), weights @ projected)


@pytest.mark.parametrize(("count", "made"), [(10, False), (11, True)])
def test_keys_and_values_are_made_only_where_that_is_cheaper(count: int, made: bool) -> None:
    calls = []
    layer = nn.Linear(CHANNELS, CHANNELS)
    layer.register_forward_hook(lambda *_: calls.append(1))
    tokens = torch.randn(1, TOKENS, CHANNELS)
    scores = key_products(torch.randn(1, HEADS, count, CHANNELS // HEADS), tokens, layer)
    value_sums(scores.softmax(-1), tokens, layer)
    assert len(calls) == (2 if made else 0)
