"""Products of attention with keys and values that are linear in the tokens, each in the order that costs less.

With W the layer's weight of one head, q (W x) takes T C (C + N) multiplications for all heads, N queries and T tokens;
(q W) x takes H N T C. So a few queries look at the tokens themselves, of which no keys and values are made then.
"""

from torch import Tensor, nn


def key_products(query: Tensor, tokens: Tensor, key: nn.Linear) -> Tensor:
    """Queries (B, H, N, D) times the keys of tokens (B, T, C), (B, H, N, T)."""
    batch, heads, count, dim = query.shape
    if not few_queries(count, heads, tokens):
        return query @ split_heads(key(tokens), heads).mT
    looking = query @ key.weight.view(heads, dim, -1)
    products = looking.flatten(1, 2) @ tokens.mT
    return products.view(batch, heads, count, tokens.shape[1]) + query @ key.bias.view(heads, dim, 1)


def value_sums(weights: Tensor, tokens: Tensor, value: nn.Linear) -> Tensor:
    """Sums (B, H, N, D) of the values of tokens (B, T, C) by weights (B, H, N, T) that add up to 1 over the tokens."""
    batch, heads, count, _ = weights.shape
    if not few_queries(count, heads, tokens):
        return weights @ split_heads(value(tokens), heads)
    gathered = (weights.flatten(1, 2) @ tokens).view(batch, heads, count, tokens.shape[2])
    return gathered @ value.weight.view(heads, -1, tokens.shape[2]).mT + value.bias.view(heads, 1, -1)


def split_heads(states: Tensor, heads: int) -> Tensor:
    """(B, N, C) to (B, heads, N, C / heads)."""
    batch, count, channels = states.shape
    return states.view(batch, count, heads, channels // heads).transpose(1, 2)


def few_queries(count: int, heads: int, tokens: Tensor) -> bool:
    """Whether so many queries rather look at the tokens (B, T, C) themselves."""
    return count * (heads - 1) < tokens.shape[2]
