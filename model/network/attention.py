"""Multi-head attention of few queries to many tokens, with its matrix products in the cheaper order."""

import torch.nn.functional as F
from torch import Tensor, nn


def cross_attention(query: Tensor, tokens: Tensor, key: nn.Linear, value: nn.Linear) -> Tensor:
    """Attend from projected queries (B, H, N, D) to tokens (B, T, C): attended values (B, H, N, D).

    Few queries are taken to the tokens' space instead of projecting every token to keys and values. The bias of the
    keys adds the same to all scores of a query, which the softmax does not see.
    """
    _, heads, count, dim = query.shape
    if not few_queries(count, heads, tokens):
        return F.scaled_dot_product_attention(query, split_heads(key(tokens), heads), split_heads(value(tokens), heads))
    queries = (query @ key.weight.view(heads, dim, -1)).flatten(1, 2)[:, None]
    attended = F.scaled_dot_product_attention(queries, tokens[:, None], tokens[:, None], scale=dim**-0.5)
    return _values_of(attended[:, 0], heads, value)


def key_products(query: Tensor, tokens: Tensor, key: nn.Linear) -> Tensor:
    """Multiply queries (B, H, N, D) by the keys of tokens (B, T, C): products (B, H, N, T)."""
    batch, heads, count, dim = query.shape
    if not few_queries(count, heads, tokens):
        return query @ split_heads(key(tokens), heads).mT
    queries = (query @ key.weight.view(heads, dim, -1)).flatten(1, 2)
    products = (queries @ tokens.mT).view(batch, heads, count, tokens.shape[1])
    return products + query @ key.bias.view(heads, dim, 1)


def value_sums(weights: Tensor, tokens: Tensor, value: nn.Linear) -> Tensor:
    """Sum the values of tokens (B, T, C) by weights (B, H, N, T) that add up to 1 over the tokens: (B, H, N, D)."""
    _, heads, count, _ = weights.shape
    if not few_queries(count, heads, tokens):
        return weights @ split_heads(value(tokens), heads)
    return _values_of(weights.flatten(1, 2) @ tokens, heads, value)


def few_queries(count: int, heads: int, tokens: Tensor) -> bool:
    """Tell whether to project this many queries to the space of the tokens (B, T, C) costs less than the reverse."""
    return count * (heads - 1) < tokens.shape[2]


def split_heads(states: Tensor, heads: int) -> Tensor:
    """Split states (B, N, C) into (B, heads, N, C / heads)."""
    batch, count, channels = states.shape
    return states.view(batch, count, heads, channels // heads).transpose(1, 2)


def _values_of(gathered: Tensor, heads: int, value: nn.Linear) -> Tensor:
    """Return the values (B, H, N, D) of tokens (B, H * N, C) that every head has gathered."""
    batch, total, channels = gathered.shape
    by_head = gathered.view(batch, heads, total // heads, channels)
    return by_head @ value.weight.view(heads, -1, channels).mT + value.bias.view(heads, 1, -1)


def merge_heads(states: Tensor) -> Tensor:
    """Merge states (B, heads, N, D) into (B, N, heads * D)."""
    return states.transpose(1, 2).flatten(2)
