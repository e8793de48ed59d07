"""Weights in the key layout of the published checkpoints <-> weights of our network, bit for bit.

Every key has a counterpart, is dropped by name (`UNUSED`), or is refused.
"""

import re
from collections.abc import Mapping

from torch import Tensor

UNUSED = ("bbox_head.reg_branches2.", "bbox_head.cls_thing_branches.")
"""Parts that the published checkpoints carry and nothing uses."""

_TRANSFORMER = "bbox_head.transformer"
_ENCODER_LAYER = r"^encoder\.layers\.(\d+)\."
_LOCATION_LAYER = r"^location_decoder\.layers\.(\d+)\."
_RENAMES: tuple[tuple[str, str], ...] = (
    (r"^neck\.(projections|extra)\.(\d+)\.0\.", r"neck.\1.\2.conv."),
    (r"^neck\.(projections|extra)\.(\d+)\.1\.", r"neck.\1.\2.gn."),
    (r"^neck\.projections\.", "neck.convs."),
    (r"^neck\.extra\.", "neck.extra_convs."),
    (r"^encoder\.level_embedding$", f"{_TRANSFORMER}.level_embeds"),
    (r"\.feedforward\.expand\.", ".ffns.0.layers.0.0."),
    (r"\.feedforward\.contract\.", ".ffns.0.layers.1."),
    (rf"{_ENCODER_LAYER}attention\.", rf"{_TRANSFORMER}.encoder.layers.\1.attentions.0."),
    (rf"{_ENCODER_LAYER}norm\.", rf"{_TRANSFORMER}.encoder.layers.\1.norms.0."),
    (rf"{_ENCODER_LAYER}feedforward\.norm\.", rf"{_TRANSFORMER}.encoder.layers.\1.norms.1."),
    (_ENCODER_LAYER, rf"{_TRANSFORMER}.encoder.layers.\1."),
    (rf"{_LOCATION_LAYER}self_attention\.", rf"{_TRANSFORMER}.decoder.layers.\1.attentions.0.attn."),
    (rf"{_LOCATION_LAYER}self_norm\.", rf"{_TRANSFORMER}.decoder.layers.\1.norms.0."),
    (rf"{_LOCATION_LAYER}cross_attention\.", rf"{_TRANSFORMER}.decoder.layers.\1.attentions.1."),
    (rf"{_LOCATION_LAYER}cross_norm\.", rf"{_TRANSFORMER}.decoder.layers.\1.norms.1."),
    (rf"{_LOCATION_LAYER}feedforward\.norm\.", rf"{_TRANSFORMER}.decoder.layers.\1.norms.2."),
    (_LOCATION_LAYER, rf"{_TRANSFORMER}.decoder.layers.\1."),
    (r"^queries\.reference_points\.", f"{_TRANSFORMER}.reference_points."),
    (r"^queries\.embedding\.", "bbox_head.query_embedding."),
    (r"^location_decoder\.class_heads\.", "bbox_head.cls_branches."),
    (r"^location_decoder\.box_heads\.", "bbox_head.reg_branches."),
    (r"^thing_masks\.", "bbox_head.things_mask_head."),
    (r"^stuff_masks\.query_embedding\.", "bbox_head.stuff_query."),
    (r"^stuff_masks\.class_heads\.", "bbox_head.cls_stuff_branches."),
    (r"^stuff_masks\.decoder\.", "bbox_head.stuff_mask_head."),
    (r"\.levels\.0\.", ".linear_l1.0."),
    (r"\.levels\.1\.", ".linear_l2.0."),
    (r"\.levels\.2\.", ".linear_l3.0."),
    (r"\.join\.", ".linear.0."),
    (r"_mask_head\.tail\.", "_mask_head.attnen."),
    (r"(_mask_head\.blocks\.\d+)\.cross\.", r"\1.attn."),
    (r"(_mask_head\.blocks\.\d+)\.v\.", r"\1.attn.v."),
    (r"(_mask_head\.blocks\.\d+)\.output\.", r"\1.attn.proj."),
    (r"(_mask_head\.blocks\.\d+)\.cross_norm\.", r"\1.head_norm1."),
    (r"(_mask_head\.blocks\.\d+)\.mlp_norm\.", r"\1.head_norm2."),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.2\.", ".mlp.fc2."),
    (r"\.self_attention\.norm\.", ".norm3."),
    (r"\.self_attention\.output\.", ".self_attention.proj."),
)
_RESNET_PARTS = {"convolution": "conv", "normalization": "bn"}


class OfficialLayoutError(ValueError):
    """A state dict that is not the published layout of the network it is meant for."""


def official_key(key: str) -> str:
    """The published name of one of our network's parameters or buffers."""
    if key.startswith("backbone.body."):
        return _official_resnet_key(key)
    for pattern, replacement in _RENAMES:
        key = re.sub(pattern, replacement, key)
    return key


def _official_resnet_key(key: str) -> str:
    stem = re.fullmatch(r"backbone\.body\.embedder\.embedder\.(\w+)\.(\w+)", key)
    if stem:
        return f"backbone.{_RESNET_PARTS[stem[1]]}1.{stem[2]}"
    block = r"backbone\.body\.encoder\.stages\.(\d+)\.layers\.(\d+)\."
    shortcut = re.fullmatch(block + r"shortcut\.(\w+)\.(\w+)", key)
    if shortcut:
        part = 0 if shortcut[3] == "convolution" else 1
        return f"backbone.layer{int(shortcut[1]) + 1}.{shortcut[2]}.downsample.{part}.{shortcut[4]}"
    conv = re.fullmatch(block + r"layer\.(\d+)\.(\w+)\.(\w+)", key)
    assert conv, key
    part_name = f"{_RESNET_PARTS[conv[4]]}{int(conv[3]) + 1}"
    return f"backbone.layer{int(conv[1]) + 1}.{conv[2]}.{part_name}.{conv[5]}"


def to_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict under the published names, without the unused parts."""
    return {official_key(key): tensor for key, tensor in state.items()}


def from_official(official: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published weights under our names.

    Args:
        official: state dict in the published layout.
        expected: state dict of the network that takes the weights; only its names and shapes are used.

    Raises:
        OfficialLayoutError: keys that are missing, unknown or of another shape, all of them named.
    """
    names = {official_key(key): key for key in expected}
    used = {key: tensor for key, tensor in official.items() if not key.startswith(UNUSED)}
    faults = [f"missing {key}" for key in names if key not in used]
    faults += [f"unknown {key}" for key in used if key not in names]
    faults += [
        f"{key} has shape {tuple(tensor.shape)}, expected {tuple(expected[names[key]].shape)}"
        for key, tensor in used.items()
        if key in names and tensor.shape != expected[names[key]].shape
    ]
    if faults:
        raise OfficialLayoutError(
            f"{len(faults)} entries do not fit the network; check backbone and class counts: " + "; ".join(faults)
        )
    return {names[key]: tensor for key, tensor in used.items()}
