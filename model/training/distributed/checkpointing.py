"""Activation checkpointing: time for memory (Chen et al., 2016, "Training deep nets with sublinear memory cost")."""

from functools import partial

from torch.utils.checkpoint import checkpoint

from model.network.segmenter import Segmenter


def checkpoint_layers(network: Segmenter) -> None:
    """Make the layers of encoder and decoders keep only their inputs and recompute the rest in the backward pass.

    Gradients stay the same, even with dropout, and so do parameter names, so that states can be exchanged.
    """
    for layer in network.modules():
        if isinstance(layer, network.recomputed):
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
