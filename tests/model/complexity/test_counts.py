"""Counts of shapes equal counts of real tensors and the papers' figures."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from model.complexity.counts import count_macs, count_parameters, meta_network
from model.complexity.operators import counting_operators
from model.complexity.rows import count_published
from model.network.config import NetworkConfig
from model.published.models import PUBLISHED
from tests.model.network.tiny_network import STUFF, THINGS, TINY, tiny_network

VERSION_1 = replace(TINY, stuff="joint", classes_from="masks")

# Multiply-adds in G by the module counter, and all and trainable parameters of the published checkpoints.
CHECKPOINTS = {
    "r50": (214.202, 51_271_900, 50_996_380),
    "r101": (285.521, 70_264_028, 69_936_284),
    "pvtv2_b5": (349.324, 104_996_188, 104_996_188),
    "swin_l": (815.937, 221_352_624, 221_352_624),
}
FULL = {"r50": 221.7, "r101": 292.7, "pvtv2_b5": 491.0, "swin_l": 833.3}


@pytest.mark.parametrize("config", [TINY, VERSION_1], ids=["version 2", "version 1"])
def test_a_meta_network_counts_like_a_real_one(config: NetworkConfig) -> None:
    shapes, real = meta_network(config, THINGS, STUFF), tiny_network(config).eval()
    assert count_macs(shapes, 97, 70) == count_macs(real, 97, 70)
    assert count_parameters(shapes) == count_parameters(real)


def test_operators_against_layers_counted_by_hand() -> None:
    class Sampler(nn.Module):
        def forward(self, image: Tensor, grid: Tensor) -> Tensor:
            return nn.functional.grid_sample(image, grid, align_corners=False)

    class Layers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(3, 7)
            self.conv = nn.Conv2d(2, 4, 3, padding=1)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.sampler = Sampler()

        def forward(self, states: Tensor) -> None:
            self.linear(torch.zeros(2, 5, 3))
            self.conv(torch.zeros(1, 2, 4, 6))
            self.attention(states, states, states, need_weights=False)
            self.sampler(torch.zeros(1, 2, 4, 4), torch.zeros(1, 5, 3, 2))

    layers = Layers()
    with counting_operators(layers) as counts:
        layers(torch.zeros(1, 3, 8))
    # four projections of 3 tokens; scores and sums of 3 x 3 pairs over 2 heads of 4 channels
    assert counts.products == {"linear": 210, "conv": 24 * 4 * 18, "attention": 4 * 3 * 64 + 2 * 2 * 9 * 4}
    assert counts.sampling == {"sampler": 2 * 5 * 3 * 5}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_version_2_is_what_was_published(name: str) -> None:
    row = count_published(name, PUBLISHED[name], (1200, 800))
    gmacs, parameters, trainable = CHECKPOINTS[name]
    assert row.macs_at_papers_size == pytest.approx(gmacs * 1e9, abs=0.001e9)
    assert row.official_parameters == parameters
    assert row.papers_parameters == trainable
    # Ours joins the levels of the mask branch before it resizes them, which is 0.1 % less.
    assert sum(row.macs.products.values()) == pytest.approx(FULL[name] * 1e9, rel=2e-3)


@pytest.mark.parametrize("name", ["v1_r50", "v1_pvtv2_b2"])
def test_version_1_meets_its_table(name: str) -> None:
    paper = PUBLISHED[name]
    row = count_published(name, paper, paper.size)
    # Its figures for small models lack the key and value projections of the mask decoder.
    projections = 0 if name == "v1_r50" else 9 * 256 * 256 * (160 * 100 + 80 * 50 + 40 * 25)
    assert row.papers_parameters is not None
    assert row.macs_at_papers_size is not None
    assert round(row.papers_parameters / 1e6, 1) == paper.parameters
    assert round((row.macs_at_papers_size - projections) / 1e9) == paper.gmacs


def test_the_queries_of_version_1_show_in_its_multiply_adds_alone() -> None:
    rows = {
        queries: count_published(name, PUBLISHED[name], PUBLISHED[name].size)
        for queries, name in ((353, "v1_r50"), (400, "v1_r50_400"))
    }
    assert all(PUBLISHED[row.name].config.queries == queries for queries, row in rows.items())
    assert {round((row.papers_parameters or 0) / 1e6, 1) for row in rows.values()} == {47.0}
    assert {queries: round((row.macs_at_papers_size or 0) / 1e9) for queries, row in rows.items()} == {
        353: 246,
        400: 247,
    }


def test_joint_matching_meets_its_table_with_the_stuff_decoder_it_does_not_use() -> None:
    joint, decoupled = (count_published(name, PUBLISHED[name], (1200, 800)) for name in ("joint_r50", "r50"))
    assert joint.paper is not None
    assert joint.papers_parameters is not None
    assert joint.macs_at_papers_size is not None
    assert "stuff_masks" not in joint.parts
    stuff_queries = 2 * 256 * (joint.paper.config.queries - 300)  # which the joint set has as well
    parameters = joint.papers_parameters + decoupled.parameters.all["stuff_masks"] - stuff_queries
    assert parameters / 1e6 == pytest.approx(joint.paper.parameters, rel=2e-3)
    macs = joint.macs_at_papers_size + decoupled.macs.modules["stuff_masks"]
    assert macs / 1e9 == pytest.approx(joint.paper.gmacs, rel=2e-3)


def test_the_baselines_meet_their_table() -> None:
    multi_scale = count_published("d_detr_ms_r50", PUBLISHED["d_detr_ms_r50"], (1200, 800))
    assert multi_scale.parameters_difference == pytest.approx(0, abs=1)
    assert multi_scale.macs_difference == pytest.approx(0, abs=2)
    detr = count_published("detr_r50", PUBLISHED["detr_r50"], (1133, 800))
    assert detr.parameters_difference == pytest.approx(0, abs=1)
    # The figure is by DETR's authors, for an image on which the network without its mask head has 86 G.
    products = detr.macs.products
    assert sum(products.values()) - products["query_masks"] == pytest.approx(86e9, rel=0.01)
    assert sum(products.values()) == pytest.approx(247.5e9, rel=0.02)


def test_parts_add_up() -> None:
    network = meta_network(TINY, THINGS, STUFF)
    counts = count_parameters(network)
    assert sum(counts.all.values()) == sum(parameter.numel() for parameter in network.parameters())
    assert list(counts.all) == [part for part, module in network.named_children() if list(module.parameters())]
