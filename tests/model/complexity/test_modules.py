"""The papers' count equals layers counted by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from model.complexity.modules import counting_modules, module_macs
from model.network.layers import FeedForward
from model.network.mask_decoder import MaskReader
from model.network.queries import top_queries
from tests.model.network.tiny_network import TINY, random_tensor, tiny_network


def macs_of(module: nn.Module, call: Callable[[], object]) -> int:
    """Sum the multiply-adds of everything inside a module during a call."""
    total = 0

    def count(part: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        nonlocal total
        total += module_macs(part, inputs, output)

    handles = [part.register_forward_hook(count) for part in module.modules()]
    call()
    for handle in handles:
        handle.remove()
    return total


@pytest.mark.parametrize(
    ("module", "shape", "expected"),
    [
        (nn.Conv2d(3, 4, 3, padding=1, bias=False), (2, 3, 5, 6), 2 * 5 * 6 * 4 * 27),
        (nn.Conv2d(3, 4, 3, stride=2, padding=1), (1, 3, 5, 6), 3 * 3 * 4 * (27 + 1)),
        (nn.Conv2d(6, 6, 3, padding=1, groups=6), (1, 6, 4, 4), 16 * 6 * (9 + 1)),
        (nn.Linear(3, 7), (2, 5, 3), 2 * 5 * 3 * 7),
        (nn.LayerNorm(6), (2, 5, 6), 2 * 60),
        (nn.LayerNorm(6, elementwise_affine=False), (2, 5, 6), 60),
        (nn.BatchNorm2d(4), (2, 4, 3, 3), 2 * 72),
        (nn.GroupNorm(2, 4), (2, 4, 3, 3), 2 * 72),
        (nn.ReLU(), (2, 5), 10),
        (nn.MaxPool2d(2), (1, 2, 4, 4), 32),
        (nn.AdaptiveAvgPool2d(2), (1, 2, 4, 4), 32),
        (nn.GELU(), (2, 5), 0),
        (nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), (5, 3), 5 * (12 + 4 + 8)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_layers(module: nn.Module, shape: tuple[int, ...], expected: int) -> None:
    assert macs_of(module, lambda: module(torch.zeros(shape))) == expected


def test_multi_head_attention_is_not_counted() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    states = random_tensor(1, 3, 8)
    assert macs_of(attention, lambda: attention(states, states, states, need_weights=False)) == 0


def test_feed_forward_includes_its_relu() -> None:
    module = FeedForward(8, 16, dropout=0.0)
    assert macs_of(module, lambda: module(random_tensor(2, 3, 8))) == 6 * (8 * 16 + 16 + 16 * 8 + 2 * 8)


def test_mask_branch_is_counted_as_the_published_layers() -> None:
    count = 20  # of fewer queries no keys are made

    class Published(nn.Module):
        """A linear layer with ReLU a level; all of them at the size of the first; a linear layer with ReLU."""

        def __init__(self) -> None:
            super().__init__()
            heads = TINY.heads
            self.q, self.k = nn.Linear(TINY.channels, TINY.channels), nn.Linear(TINY.channels, TINY.channels)
            self.levels = nn.ModuleList(nn.Sequential(nn.Linear(heads, heads), nn.ReLU()) for _ in range(3))
            self.join = nn.Sequential(nn.Linear(3 * heads, 1), nn.ReLU())

        def forward(self, queries: Tensor, tokens: Tensor) -> None:
            self.q(queries), self.k(tokens)
            for level, size in zip(self.levels, (24, 6, 2), strict=True):
                level(torch.zeros(1, count, size, TINY.heads))
            self.join(torch.zeros(1, count, 24, 3 * TINY.heads))

    ours, published = MaskReader(TINY), Published()
    queries, tokens, shapes = (
        random_tensor(1, count, TINY.channels),
        random_tensor(1, 32, TINY.channels),
        ((4, 6), (2, 3), (1, 2)),
    )
    assert macs_of(ours, lambda: ours(queries, tokens, shapes)) == macs_of(
        published, lambda: published(queries, tokens)
    )


def test_box_heads_count_twice_and_every_part_is_named() -> None:
    network = tiny_network().eval()
    with counting_modules(network) as counts:
        network(torch.zeros(1, 3, 48, 64), None, top_queries(5))
    once = TINY.queries * sum(
        2 * TINY.channels**2 + 2 * TINY.channels + TINY.channels * 4 for _ in range(TINY.location_layers)
    )
    with counting_modules(network) as again:
        for head in network.location_decoder.place_heads:
            head(torch.zeros(1, TINY.queries, TINY.channels))
    assert again["location_decoder"] == 2 * once
    assert set(counts) >= {"backbone", "neck", "encoder", "queries", "location_decoder", "query_masks", "stuff_masks"}
    assert all(not module._forward_hooks for module in network.modules())
