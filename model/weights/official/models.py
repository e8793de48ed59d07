"""The four networks of the published checkpoints, and recognition of the one that a state dict belongs to."""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from model.network.config import NetworkConfig
from model.network.panoptic_segformer import PanopticSegFormer
from model.published import PUBLISHED
from model.weights.official.classes import ClassCounts
from model.weights.official.layout import OfficialLayoutError, listed
from model.weights.official.names import network_layout, without_unused

CONFIGS: Mapping[str, NetworkConfig] = MappingProxyType(
    {name: model.config for name, model in PUBLISHED.items() if model.checkpoint}
)
"""The rows of `PUBLISHED` whose weights the authors published."""


def expected_entries(config: NetworkConfig, counts: ClassCounts) -> dict[str, Tensor]:
    """Names, shapes and types of our network's entries, without memory for their values."""
    with torch.device("meta"):
        return dict(PanopticSegFormer(config, counts.things, counts.stuff).state_dict())


def require_model(state: Mapping[str, Tensor], model: str, subject: str) -> None:
    """Check that a published state dict is of this model, whatever its class counts.

    Raises:
        OfficialLayoutError: it is not; says which model fits, or what does not fit the closest one.
    """
    if not _issues(state, model):
        return
    issues = {other: _issues(state, other) for other in CONFIGS}
    closest = min(issues, key=lambda other: len(issues[other]))
    if not issues[closest]:
        raise OfficialLayoutError(f"{subject}: is a checkpoint of {closest}, not of {model}; use --model {closest}")
    raise OfficialLayoutError(
        f"{subject}: is no checkpoint of {', '.join(CONFIGS)}. Closest is {closest}; what does not fit it "
        f"({len(issues[closest])} in all):\n" + "\n".join(listed(issues[closest]))
    )


def model_of(backbone: str) -> str | None:
    """Name of the published model with this backbone, if any."""
    return next((name for name, config in CONFIGS.items() if config.backbone == backbone), None)


def _issues(state: Mapping[str, Tensor], model: str) -> dict[str, str]:
    expected = expected_entries(CONFIGS[model], ClassCounts.of_official(state))
    layout = network_layout(CONFIGS[model].backbone, expected)
    return layout.issues(without_unused(state), expected)
