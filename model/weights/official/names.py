"""The published layout of a whole network, and its unused parts."""

from collections.abc import Mapping
from types import MappingProxyType

from torch import Tensor

from model.network.backbones import BACKBONES
from model.weights.loading.layout import Layout, backbone_layout, layout_of
from model.weights.official.head import official_head_key

UNUSED: Mapping[str, str] = MappingProxyType(
    {
        "bbox_head.reg_branches2.": "a second set of box heads",
        "bbox_head.cls_thing_branches.": "class heads beside those of the location decoder",
    }
)
"""Name prefixes and descriptions of parts that the published checkpoints contain and nothing uses."""

_BACKBONE = "backbone."
_OUR_BACKBONE = "backbone.body."
_HEAD = ("neck.", "bbox_head.")


def network_layout(backbone: str, expected: Mapping[str, Tensor]) -> Layout:
    """Correspondence between the published entries and those of a network's state dict.

    Raises:
        ValueError: the network has parts without a counterpart in the published code.
    """
    body = {_body_key(key): tensor for key, tensor in expected.items() if key.startswith(_OUR_BACKBONE)}
    inner = backbone_layout(BACKBONES[backbone], body)
    head = {key: official_head_key(key) for key in expected if not key.startswith(_OUR_BACKBONE)}
    foreign = sorted({key.split(".")[0] for key, name in head.items() if not name.startswith(_HEAD)})
    if foreign:
        raise ValueError(f"the published code has no counterpart of this network's {', '.join(foreign)}")
    sources = {
        f"{_BACKBONE}{name}": tuple(f"{_OUR_BACKBONE}{key}" for key in keys) for name, keys in inner.sources.items()
    }
    fixed = {f"{_BACKBONE}{name}": tensor for name, tensor in inner.fixed.items()}
    return Layout(sources | layout_of(head), fixed)


def official_key(key: str, backbone: str = "resnet50") -> str:
    """Published name of the entry that holds one of our network's, perhaps joined with others."""
    if key.startswith(_OUR_BACKBONE):
        return f"{_BACKBONE}{BACKBONES[backbone].official_key(_body_key(key))}"
    return official_head_key(key)


def to_official(backbone: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert a network's state dict to the published names, without the unused parts."""
    return network_layout(backbone, state).to_official(state)


def from_official(backbone: str, official: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert published weights to our names, without the unused parts.

    Args:
        backbone: name, as in `NetworkConfig.backbone`.
        official: state dict in the published layout.
        expected: state dict of the receiving network, of which only names, shapes and types are used.

    Raises:
        OfficialLayoutError: entries are missing, unknown, or of another shape or type; names them.
    """
    return network_layout(backbone, expected).from_official(without_unused(official), expected)


def without_unused(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Select the entries of a published checkpoint that the network uses."""
    return {name: tensor for name, tensor in official.items() if not name.startswith(tuple(UNUSED))}


def _body_key(key: str) -> str:
    return key.removeprefix(_OUR_BACKBONE)
