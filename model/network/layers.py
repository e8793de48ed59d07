"""Small parts that several modules share."""

import math

import torch
from torch import Tensor, nn

CLASS_BIAS = -math.log(99)  # sigmoid 0.01: at the start nearly nothing is an object
EPS = 1e-5


class FeedForward(nn.Module):
    """Two linear layers around a ReLU, added to the input and normalized (post-norm)."""

    def __init__(self, channels: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Linear(channels, hidden)
        self.contract = nn.Linear(hidden, channels)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(channels)

    def forward(self, states: Tensor) -> Tensor:
        """(B, S, C) to the same shape."""
        hidden = self.dropout(self.expand(states).relu())  # not in place: a linear layer gives a view
        updated: Tensor = self.norm(states + self.dropout(self.contract(hidden)))
        return updated


def xavier_matrices(module: nn.Module) -> None:
    """Xavier-uniform for every parameter of two or more dimensions."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)


def inverse_sigmoid(values: Tensor) -> Tensor:
    """Logits of probabilities, finite at 0 and 1."""
    values = values.clamp(0, 1)
    return torch.log(values.clamp(min=EPS) / (1 - values).clamp(min=EPS))


def class_head(channels: int, classes: int) -> nn.Linear:
    """Linear classifier that starts by finding every class improbable."""
    head = nn.Linear(channels, classes)
    nn.init.constant_(head.bias, CLASS_BIAS)
    return head


def box_head(channels: int, box_size: int, size_bias: float) -> nn.Sequential:
    """Three linear layers; the last starts as a constant: stay at the reference, as a box with this size in logits."""
    last = nn.Linear(channels, box_size)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    nn.init.constant_(last.bias[2:], size_bias)
    return nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels), nn.ReLU(), last)
