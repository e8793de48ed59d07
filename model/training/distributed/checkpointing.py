"""Activation checkpointing: time for memory (Chen et al., 2016, "Training deep nets with sublinear memory cost")."""

from collections.abc import Iterator
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from model.network.baselines.detr import DenseEncoderLayer, DenseLocationLayer
from model.network.encoder import EncoderLayer
from model.network.location_decoder import LocationLayer
from model.network.mask_decoder import MaskBlock

LAYERS = (EncoderLayer, DenseEncoderLayer, LocationLayer, DenseLocationLayer, MaskBlock)


def checkpoint_layers(network: nn.Module) -> None:
    """Make the layers of encoder and decoders keep only their inputs and recompute the rest in the backward pass.

    Gradients stay the same, even with dropout, and so do parameter names, so that states can be exchanged.
    """
    for layer in _layers(network):
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)


def _layers(network: nn.Module) -> Iterator[nn.Module]:
    return (module for module in network.modules() if isinstance(module, LAYERS))
