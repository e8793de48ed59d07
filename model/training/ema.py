"""Exponential moving average of a network's weights; if enabled, it is what is evaluated and saved."""

import copy

import torch
from torch import Tensor

from model.network.segmenter import Segmenter


class WeightAverage:
    """Average that keeps `decay` of its old value at every step; the decay warms up over the first steps."""

    def __init__(self, network: Segmenter, decay: float) -> None:
        """Average the weights of `network`, starting from the present ones."""
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: Segmenter, step: int) -> None:
        """Update the average with the weights of `network` after `step` (0, 1, ...); buffers are copied."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averages: list[Tensor] = list(self.network.parameters())
        weights: list[Tensor] = list(network.parameters())
        torch._foreach_lerp_(averages, weights, 1 - decay)
        for average, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            average.copy_(buffer)
