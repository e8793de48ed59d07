"""Muon orthogonalizes matrices, takes the steps of `torch.optim.Muon`, and descends."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from model.training.muon import Muon, orthogonalize
from model.training.optimizer import build_optimizers, is_inner_matrix
from model.training.settings import TrainSettings
from tests.model.training.synthetic import NETWORK, network


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8)])
def test_singular_values_become_about_one_and_spaces_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    others = [torch.randn(16, 20, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    result = orthogonalize([others[0], matrix, others[1]])[1] / max(1.0, shape[0] / shape[1]) ** 0.5
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    assert (values.max() / values.min()) > 1.5, "the matrix itself is far from orthogonal"
    found = left.mT @ result @ right.mT
    assert ((found.diagonal() > 0.4) & (found.diagonal() < 1.3)).all()
    torch.testing.assert_close(found, found.diagonal().diag(), rtol=0, atol=1e-4)


def test_scale_of_the_gradient_does_not_matter_and_filters_are_rows() -> None:
    moved = []
    for scale in (1e-3, 1e3):
        torch.manual_seed(0)
        conv = nn.Conv2d(3, 4, 3, bias=False)
        before = conv.weight.detach().clone()
        conv.weight.grad = torch.randn_like(conv.weight) * scale
        Muon([{"params": [conv.weight]}], lr=0.1).step()
        moved.append((conv.weight - before).detach())
    torch.testing.assert_close(moved[0], moved[1], rtol=1e-3, atol=1e-5)
    assert moved[0].flatten(1).norm(dim=1).mean().item() == pytest.approx(0.1, rel=0.4)


@pytest.mark.parametrize(("precision", "tolerance"), [("float", 1e-4), ("bfloat16", 0.02)])
@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8)])
def test_steps_equal_those_of_torch(
    shape: tuple[int, int], precision: str, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal to rounding where torch iterates in float32 too, and within the precision of its bfloat16 where not."""
    monkeypatch.setattr(Tensor, "bfloat16", getattr(Tensor, precision))
    torch.manual_seed(0)
    started = torch.randn(shape)
    ours, theirs = nn.Parameter(started.clone()), nn.Parameter(started.clone())
    optimizers = (
        Muon([{"params": [ours]}], lr=0.02, weight_decay=0.1, momentum=0.9),
        torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, momentum=0.9, nesterov=True, adjust_lr_fn="original"),
    )
    for scale in (1e-3, 1.0, 1e3, 1.0, 0.1):
        ours.grad = scale * torch.randn(shape)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
        assert (ours - theirs).norm() < tolerance * (theirs - started).norm()


def test_it_descends_on_an_ill_conditioned_loss() -> None:
    torch.manual_seed(0)
    stretch = torch.logspace(0, -3, 8)
    weight, target = nn.Parameter(torch.zeros(8, 8)), torch.randn(8, 8)
    optimizer = Muon([{"params": [weight]}], lr=0.1)
    losses = []
    for step in range(150):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 150)
        loss = ((weight - target) * stretch).square().sum()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 1e-2 * losses[0]


def test_every_parameter_has_exactly_one_optimizer() -> None:
    model = network()
    muon, adamw = build_optimizers(model, TrainSettings(optimizer="muon", learning_rate=1e-3))
    inner = {id(p) for group in muon.param_groups for p in group["params"]}
    rest = {id(p) for group in adamw.param_groups for p in group["params"]}
    assert inner.isdisjoint(rest)
    assert inner | rest == {id(p) for p in model.parameters() if p.requires_grad}
    assert inner == {id(p) for name, p in model.named_parameters() if is_inner_matrix(model, name, p)}
    assert {group["multiplier"] for group in muon.param_groups} == {2.0, 20.0}


def test_heads_tables_and_the_geometry_of_attention_are_left_to_adamw() -> None:
    config = replace(NETWORK, stuff="joint", classes_from="masks", query_initialization="encoder", token_classes=True)
    matrices = [name for model in (network(), network(config)) for name, p in model.named_parameters() if p.dim() > 1]
    matrix = nn.Parameter(torch.zeros(2, 2))
    parts = ("class_head", "place_head", "query_classes", "token_classes", "embedding", "sampling_offsets", ".join.")
    for part in parts:
        found = [name for name in matrices if part in name]
        assert found, part
        assert not any(is_inner_matrix(network(), name, matrix) for name in found), part
    assert is_inner_matrix(network(), "encoder.layers.0.feedforward.expand.weight", matrix)
