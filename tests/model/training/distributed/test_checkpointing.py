"""Activation checkpointing gives the same gradients of the same parameters, and keeps less memory."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.network.config import NetworkConfig
from model.training.criterion import LossWeights, SegmentCounts, panoptic_losses
from model.training.distributed.checkpointing import checkpoint_layers
from model.training.matcher import MatchedQueries
from tests.model.training.synthetic import NETWORK, network, random_batch

DENSE = replace(NETWORK, stuff="joint", attention="dense", mask_head="fpn")


def trained_once(config: NetworkConfig, checkpointed: bool) -> tuple[dict[str, Tensor], int]:
    """Return the gradients of one step, and the number of bytes kept for the backward pass."""
    model, batch = network(config), random_batch(0, (2, 1))
    if checkpointed:
        checkpoint_layers(model)
    kept = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.nbytes
        return tensor

    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(batch.images, batch.image_sizes, MatchedQueries(batch.targets))
        terms = panoptic_losses(output, batch.targets, SegmentCounts.of(batch.targets), LossWeights())
    torch.autograd.backward(torch.stack(list(terms.values())).sum())
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return gradients, kept


@pytest.mark.parametrize("config", [replace(NETWORK, dropout=0.2), replace(DENSE, dropout=0.2)], ids=["ours", "dense"])
def test_gradients_are_equal_even_with_dropout_and_less_is_kept(config: NetworkConfig) -> None:
    expected, much = trained_once(config, checkpointed=False)
    found, little = trained_once(config, checkpointed=True)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=f"{name} differs")
    assert little < much
