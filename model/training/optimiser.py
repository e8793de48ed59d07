"""AdamW with the published parameter groups, and the learning-rate schedules."""

import math

from torch import nn
from torch.optim import AdamW

from model.training.settings import TrainSettings


def build_optimiser(network: nn.Module, settings: TrainSettings) -> AdamW:
    """AdamW over the trainable parameters: backbone, sampling geometry (both slower) and the rest."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(rate_multiplier(name, settings), []).append(parameter)
    return AdamW(
        [{"params": group, "multiplier": multiplier} for multiplier, group in groups.items()],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def rate_multiplier(name: str, settings: TrainSettings) -> float:
    """Learning rate of the parameter `name` relative to the base rate."""
    if name.startswith("backbone."):
        return settings.backbone_multiplier
    if ".sampling_offsets." in name or ".reference_points." in name:
        return settings.sampling_multiplier
    return 1.0


def rate_at(step: int, steps_per_epoch: int, settings: TrainSettings) -> float:
    """Base learning rate of optimiser step `step`, counted from 0: linear warm-up, then steps or half a cosine."""
    rate = settings.learning_rate * min(1.0, (step + 1) / (settings.warmup_steps + 1))
    if settings.schedule == "cosine":
        return rate * (1 + math.cos(math.pi * step / (steps_per_epoch * settings.epochs))) / 2
    drops = sum(step >= epoch * steps_per_epoch for epoch in settings.step_epochs)
    return rate * 0.1**drops


def set_rate(optimiser: AdamW, rate: float) -> None:
    """Give every group its own multiple of `rate`."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["multiplier"]
