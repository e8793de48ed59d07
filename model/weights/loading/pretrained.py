"""Loads the weights of ImageNet classifiers into backbones, in the layout of `transformers` or of the authors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from model.network.backbone import Backbone
from model.network.backbones import BACKBONES
from model.network.backbones.family import BackboneSize
from model.network.config import NetworkConfig
from model.weights.checks import is_finite
from model.weights.loading.files import WeightsError, read_weights
from model.weights.loading.layout import Layout, backbone_layout, listed
from panoptic.io.errors import shown_ids


@dataclass(frozen=True)
class FittedWeights:
    """Weights of a file under the names of a backbone's body."""

    state: dict[str, Tensor]
    kept: tuple[str, ...]  # entries of the body that the file lacks; they keep their values
    dropped: tuple[str, ...]  # entries of the file that the body lacks
    taken: str = ""  # which of several sets of weights in the file
    left_out: tuple[str, ...] = ()  # other things in the file, for example the optimizer's state


def fit(name: str, weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: Path) -> FittedWeights:
    """Convert the weights of a file to a backbone's layout.

    Args:
        name: backbone, as in `NetworkConfig.backbone`.
        weights: in the layout of `transformers` or of the authors.
        expected: state dict of the backbone's body, of which only names, shapes and types are used.
        source: file of the weights, for messages.

    Raises:
        WeightsError: entries are missing, unknown, or of another shape or type; names them.
    """
    match = _match(BACKBONES[name], weights, expected)
    issues = match.layout.issues(match.weights, match.expected)
    if issues:
        found = f"{source} is not for the backbone {name}{_advice(weights, name)}; {len(issues)} entries do not fit:"
        raise WeightsError("\n".join([found, *listed(issues)]))
    if bad := [name for name, tensor in match.weights.items() if not is_finite(tensor)]:
        raise WeightsError(f"{source}: has NaN or infinite numbers in {shown_ids(bad)}; download it again")
    return FittedWeights(
        match.layout.from_official(match.weights, match.expected),
        kept=tuple(key for key in expected if key not in match.expected),
        dropped=match.dropped,
    )


@dataclass(frozen=True)
class _Match:
    """Entries of a file and of a backbone that should correspond one to one."""

    layout: Layout
    weights: Mapping[str, Tensor]
    expected: Mapping[str, Tensor]
    dropped: tuple[str, ...]


def _match(size: BackboneSize, weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> _Match:
    hub_prefixes = {prefix for known in BACKBONES.values() for prefix in known.hub_prefixes}
    if any(key.startswith(tuple(hub_prefixes)) for key in weights):
        weights = {size.body_key(key): tensor for key, tensor in weights.items()}
        layout = Layout({key: (key,) for key in expected})
    else:
        layout = backbone_layout(size, expected)
    used = {key: tensor for key, tensor in weights.items() if not _matches(key, size.unused_entries)}
    missing = {key for entry, keys in layout.sources.items() if entry not in used for key in keys}
    kept = {key for key in missing if _matches(key, size.optional_entries)}
    return _Match(
        Layout({entry: keys for entry, keys in layout.sources.items() if not kept.intersection(keys)}, layout.fixed),
        weights={**layout.fixed, **used},
        expected={key: tensor for key, tensor in expected.items() if key not in kept},
        dropped=tuple(sorted(weights.keys() - used.keys())),
    )


def _matches(key: str, patterns: tuple[str, ...]) -> bool:
    return any(re.search(pattern, key) for pattern in patterns)


def _advice(weights: Mapping[str, Tensor], name: str) -> str:
    """Name the other backbone that the weights fit, if there is one."""
    for other, size in BACKBONES.items():
        if other != name:
            with torch.device("meta"):
                body = Backbone(NetworkConfig(backbone=other, frozen_stages=0)).body
            match = _match(size, weights, body.state_dict())
            if not match.layout.issues(match.weights, match.expected):
                return f", but for {other} (correct model.backbone, or name another file)"
    return ""


def load_backbone(backbone: Backbone, file: Path, average: bool = False) -> FittedWeights:
    """Load a file, or the moving average in it, into a backbone: parameters, and the statistics of its batch norm.

    Raises:
        WeightsError: the file cannot be read, or does not fit.
    """
    if any(isinstance(module, nn.GroupNorm) for module in backbone.modules()):
        raise WeightsError(
            f"ImageNet weights of {backbone.name} are for batch norm, and model.backbone_norm is 'group'; set it to "
            "'frozen' or 'batch', or start from random weights (train.initial_weights: random)"
        )
    expected = dict(backbone.body.state_dict())
    weights = read_weights(file, average)
    fitted = fit(backbone.name, weights.state, expected, file)
    backbone.body.load_state_dict(expected | fitted.state)
    return replace(fitted, taken=weights.taken, left_out=weights.left_out)
