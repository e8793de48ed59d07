"""Optimizers with the published parameter groups, and learning-rate schedules."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from model.network.segmenter import Segmenter
from model.training.muon import Muon, ParameterGroup
from model.training.settings import TrainSettings
from model.weights.checks import entry_issues, shown_issues

_TENSORS: Mapping[type[Optimizer], tuple[str, ...]] = {Muon: ("momentum",), AdamW: ("exp_avg", "exp_avg_sq")}
"""What the optimizers keep for a parameter, each in its shape."""


def build_optimizers(network: Segmenter, settings: TrainSettings) -> tuple[Optimizer, ...]:
    """Build AdamW over the trainable parameters, grouped by rate; with `muon`, Muon over inner matrices comes first."""
    orthogonal: dict[float, list[nn.Parameter]] = {}
    rest: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            inner = settings.optimizer == "muon" and is_inner_matrix(network, name, parameter)
            groups = orthogonal if inner else rest
            groups.setdefault(rate_multiplier(name, settings), []).append(parameter)
    adamw = AdamW(_groups(rest, 1.0), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    if not orthogonal:
        return (adamw,)
    ratio = settings.muon_learning_rate / settings.learning_rate
    return Muon(_groups(orthogonal, ratio), settings.muon_learning_rate, settings.weight_decay), adamw


def is_inner_matrix(network: Segmenter, name: str, parameter: nn.Parameter) -> bool:
    """Tell whether Muon may train the parameter of `network`."""
    return parameter.dim() >= 2 and not any(part in name for part in network.not_orthogonal)


def _groups(parameters: Mapping[float, list[nn.Parameter]], ratio: float) -> list[ParameterGroup]:
    return [{"params": group, "multiplier": multiplier * ratio} for multiplier, group in parameters.items()]


def rate_multiplier(name: str, settings: TrainSettings) -> float:
    """Return the learning rate of the parameter `name` relative to the base rate."""
    if name.startswith("backbone."):
        return settings.backbone_multiplier
    if ".sampling_offsets." in name or ".reference_points." in name:
        return settings.sampling_multiplier
    return 1.0


def rate_at(step: int, steps_per_epoch: int, settings: TrainSettings) -> float:
    """Return the base learning rate of step `step`, counted from 0: linear warm-up, then steps or half a cosine."""
    rate = settings.learning_rate * min(1.0, (step + 1) / (settings.warmup_steps + 1))
    if settings.schedule == "cosine":
        return rate * (1 + math.cos(math.pi * step / (steps_per_epoch * settings.epochs))) / 2
    drops = sum(step >= epoch * steps_per_epoch for epoch in settings.rate_steps)
    return rate * 0.1**drops


def set_rate(optimizers: Sequence[Optimizer], rate: float) -> None:
    """Set every group's learning rate to its multiple of `rate`."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group["multiplier"]


def optimizer_issues(optimizer: Optimizer, saved: object) -> Iterator[str]:
    """Yield in what a saved state differs from one of this optimizer: its groups, and the tensors of each parameter.

    Rates are not compared, as they are set anew at every step. Before the first step there are no tensors.
    """
    own: dict[str, Any] = optimizer.state_dict()
    if not isinstance(saved, dict) or sorted(map(str, saved)) != ["param_groups", "state"]:
        yield "it should hold state and param_groups"
        return
    groups, tensors = saved["param_groups"], saved["state"]
    if repr(_plain(groups)) != repr(_plain(own["param_groups"])):  # tensors do not compare as one
        yield "its groups of parameters, or their settings, are others"
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if not isinstance(tensors, dict) or (tensors and tensors.keys() != set(range(len(parameters)))):
        yield f"it should hold tensors for each of the {len(parameters)} parameters"
        return
    for index, entries in tensors.items():
        shape, dtype = parameters[index].shape, parameters[index].dtype
        expected = {name: torch.empty(shape, dtype=dtype, device="meta") for name in _TENSORS[type(optimizer)]}
        if isinstance(optimizer, AdamW):
            expected["step"] = torch.empty((), device="meta")
        if not isinstance(entries, dict):
            yield f"parameter {index} has a {type(entries).__name__}, expected names and tensors"
        elif issues := entry_issues(entries, expected):
            yield f"parameter {index}: {shown_issues(issues)}"


def _plain(groups: object) -> object:
    """Groups without rates, and with lists in place of tuples, which saving makes of them."""
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        return groups
    return [
        {name: list(value) if isinstance(value, tuple) else value for name, value in group.items() if name != "lr"}
        for group in groups
    ]
