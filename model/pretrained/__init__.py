"""ImageNet weights for a backbone: from a folder, from the Hugging Face hub, or from a file that is named.

`transformers`' layout is understood, as the hub has it, and the layouts of the networks' authors. What of a file a
backbone has no use for, and what of a backbone a file does not hold, is listed by name in `model.pretrained.fitting`;
anything else that differs is refused by name.
"""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from model.network.backbone import Backbone
from model.pretrained.errors import PretrainedError
from model.pretrained.fitting import fit
from model.pretrained.hub import find_imagenet
from model.pretrained.reading import read_weights

__all__ = ["LoadedBackbone", "PretrainedError", "find_imagenet", "load_backbone"]


@dataclass(frozen=True)
class LoadedBackbone:
    """How far a file and a backbone go together."""

    kept: tuple[str, ...]
    """Entries of the backbone that the file does not hold; they stay as they were."""
    dropped: tuple[str, ...]
    """Entries of the file that the backbone does not have."""


def load_backbone(backbone: Backbone, file: Path) -> LoadedBackbone:
    """Give a backbone the weights of a file: its parameters, and the statistics of its batch norm.

    Raises:
        PretrainedError: a file that cannot be read, or does not fit.
    """
    if any(isinstance(module, nn.GroupNorm) for module in backbone.modules()):
        raise PretrainedError(
            f"ImageNet weights of {backbone.name} are for batch norm, and model.backbone_norm is 'group'; set it to "
            "'frozen' or 'batch', or start from random weights (train.initial_weights: random)"
        )
    expected = dict(backbone.body.state_dict())
    fitted = fit(backbone.name, read_weights(file), expected, file)
    backbone.body.load_state_dict(expected | fitted.state)
    return LoadedBackbone(fitted.kept, fitted.dropped)
