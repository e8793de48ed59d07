"""Small layers that several parts of the network share."""

import math

import torch
from torch import Tensor, nn

CLASS_BIAS = -math.log(99)  # sigmoid 0.01: initially almost nothing is an object
EPS = 1e-5


class FeedForward(nn.Module):
    """Two linear layers with a ReLU between them, residual and norm (post-norm)."""

    def __init__(self, channels: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Linear(channels, hidden)
        self.contract = nn.Linear(hidden, channels)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(channels)

    def forward(self, states: Tensor) -> Tensor:
        """(B, S, C) to the same shape."""
        hidden = self.dropout(self.expand(states).relu())  # not in place: the output of a linear layer is a view
        updated: Tensor = self.norm(states + self.dropout(self.contract(hidden)))
        return updated


def xavier_matrices(module: nn.Module) -> None:
    """Initialize every parameter of two or more dimensions by Xavier-uniform."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)


def inverse_sigmoid(values: Tensor) -> Tensor:
    """Convert probabilities to logits that are finite at 0 and 1."""
    values = values.clamp(0, 1)
    return torch.log(values.clamp(min=EPS) / (1 - values).clamp(min=EPS))


def class_head(channels: int, classes: int) -> nn.Linear:
    """Build a linear classifier to which every class is initially improbable."""
    head = nn.Linear(channels, classes)
    nn.init.constant_(head.bias, CLASS_BIAS)
    return head


def box_head(channels: int, location_size: int, size_bias: float) -> nn.Sequential:
    """Build three linear layers that initially predict no offset from the reference, and one box size (in logits)."""
    last = nn.Linear(channels, location_size)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    nn.init.constant_(last.bias[2:], size_bias)
    return nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels), nn.ReLU(), last)
