"""A network small enough to build in every test."""

import torch
from torch import Tensor

from model.network.config import NetworkConfig
from model.network.outputs import Memory
from model.network.panoptic_segformer import PanopticSegFormer

TINY = NetworkConfig(
    backbone="tiny",
    backbone_norm="batch",
    frozen_stages=0,
    channels=32,
    heads=4,
    points=2,
    encoder_layers=1,
    location_layers=2,
    thing_mask_layers=1,
    stuff_mask_layers=2,
    feedforward=32,
    mask_feedforward=32,
    queries=7,
    dropout=0.0,
)
THINGS, STUFF = 3, 2
SHAPES = ((6, 8), (3, 4), (2, 2), (1, 1))


def tiny_network(config: NetworkConfig = TINY) -> PanopticSegFormer:
    """Seeded; every parameter is random, so that no part starts as a constant."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)  # of the biases
        network = PanopticSegFormer(config, THINGS, STUFF)
        for parameter in network.parameters():
            if parameter.dim() > 1:
                spread = parameter[0].numel() ** -0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
    return network


def random_tensor(*shape: int, seed: int = 0) -> Tensor:
    """Seeded normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def random_memory(batch: int = 2, channels: int = TINY.channels) -> Memory:
    """Encoder output of unpadded images at `SHAPES`."""
    tokens = sum(height * width for height, width in SHAPES)
    return Memory(
        random_tensor(batch, tokens, channels),
        random_tensor(batch, tokens, channels, seed=1),
        torch.zeros(batch, tokens, dtype=torch.bool),
        SHAPES,
        torch.ones(batch, len(SHAPES), 2),
    )
