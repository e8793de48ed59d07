"""Fast training learns what the naive one does."""

import pickle

import pytest
import torch
from torch import Tensor

from benchmarks.baselines.naive_training import collate_tensors, use_naive_parts
from model.ops.backends import using
from model.training import muon
from model.training.batch import collate
from model.training.criterion import LossWeights, SegmentCounts, panoptic_losses
from model.training.matcher import MatchedQueries
from panoptic.format.categories import CategoryTable
from tests.model.training.synthetic import assert_same_batch, network, random_batch
from tests.tiny_dataset import CATEGORIES, make_sample


def losses_and_gradients() -> dict[str, Tensor]:
    """Return the losses and gradients of a step.

    Sampling offsets start in the middle of pixels, where their gradient jumps, so they are moved away from there.
    """
    batch = random_batch(0, (3, 0, 2))
    model = network().train()
    for name, parameter in model.named_parameters():
        if name.endswith("sampling_offsets.bias"):
            torch.nn.init.normal_(parameter)
    output = model(batch.images, batch.image_sizes, MatchedQueries(batch.targets))
    terms = panoptic_losses(output, batch.targets, SegmentCounts.of(batch.targets), LossWeights())
    torch.autograd.backward(torch.stack(list(terms.values())).sum())
    return terms | {name: one.grad for name, one in model.named_parameters() if one.grad is not None}


def test_losses_and_gradients_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    found = losses_and_gradients()
    use_naive_parts(monkeypatch.setattr)
    with using("reference"):
        expected = losses_and_gradients()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-3, msg=name)


def test_batches_are_the_same() -> None:
    samples, table = [make_sample(0), make_sample(1)], CategoryTable.from_json(CATEGORIES)
    loose = pickle.loads(pickle.dumps(collate_tensors(samples, table, "decoupled")))
    cpu = torch.device("cpu")
    assert_same_batch(loose.to(cpu), collate(samples, table, "decoupled").to(cpu))


def test_matrices_become_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    matrices = [torch.randn(rows, columns, generator=generator) for rows, columns in ((5, 9), (8, 3), (5, 5))]
    found = muon.orthogonalize(matrices)
    use_naive_parts(monkeypatch.setattr)
    for one, other in zip(found, muon.orthogonalize(matrices), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
