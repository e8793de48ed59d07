"""Names of backbone entries in the published checkpoints (mmdet's and the authors') and in `transformers`.

PVTv2's checkpoints join key and value, Swin's query, key and value; Swin's also hold the index of relative positions,
which follows from the window size. Keys stand without the prefix `backbone.`, ours without `backbone.body.`.
"""

import re
from collections.abc import Mapping
from math import isqrt
from types import MappingProxyType

import torch
from torch import Tensor

from model.weights.official.layout import Layout, layout_of

_RESNET_STAGE = r"^encoder\.stages\.(\d+)\.layers\.(\d+)\."
_RESNET_PARTS = {"convolution": "conv", "normalization": "bn"}
_PVT_STAGE = r"^encoder\.layers\.(\d+)\."
_PVT: tuple[tuple[str, str], ...] = (
    (r"\.attention\.query\.", ".attn.q."),
    (r"\.attention\.(key|value)\.", ".attn.kv."),
    (r"\.attention\.proj\.", ".attn.proj."),
    (r"\.attention\.spatial_reduction\.", ".attn.sr."),
    (r"\.attention\.layer_norm\.", ".attn.norm."),
    (r"\.layer_norm_([12])\.", r".norm\1."),
    (r"\.mlp\.dense([12])\.", r".mlp.fc\1."),
)
_SWIN: tuple[tuple[str, str], ...] = (
    (r"^swin\.embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^swin\.embeddings\.norm\.", "patch_embed.norm."),
    (r"^swin\.encoder\.", ""),
    (r"\.attention\.[qkv]_proj\.", ".attn.qkv."),
    (r"\.attention\.o_proj\.", ".attn.proj."),
    (r"\.attention\.relative_position_bias\.", ".attn."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
)
_JOINED = ("q_proj", "k_proj", "v_proj", "key", "value")
_BIAS_TABLE = ".attn.relative_position_bias_table"
POSITION_INDEX = ".attn.relative_position_index"


def backbone_to_official(name: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our backbone's state dict under the published names.

    Args:
        name: of the backbone, as in `NetworkConfig.backbone`.
        state: state dict of the `transformers` backbone.
    """
    return backbone_layout(name, state).to_official(state)


def backbone_from_official(
    name: str, official: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Published backbone weights under the names of the `transformers` backbone.

    Args:
        name: of the backbone, as in `NetworkConfig.backbone`.
        official: published entries, all of them and no others.
        expected: state dict of the backbone that takes the weights; only names, shapes and types are used.

    Raises:
        OfficialLayoutError: entries that are missing, unknown or of another shape, by name.
    """
    return backbone_layout(name, expected).from_official(official, expected)


def backbone_layout(name: str, expected: Mapping[str, Tensor]) -> Layout:
    """How the published entries of a backbone correspond to those of its state dict."""
    sources = layout_of({key: official_backbone_key(name, key) for key in expected}, _JOINED)
    fixed: dict[str, Tensor] = {}
    for official, keys in sources.items():
        if official.endswith(_BIAS_TABLE):
            window = (isqrt(len(expected[keys[0]])) + 1) // 2
            fixed[official.removesuffix(_BIAS_TABLE) + POSITION_INDEX] = relative_position_index(window)
    return Layout(sources, fixed)


def official_backbone_key(name: str, key: str) -> str:
    """The published name of the entry that holds one of our backbone's, perhaps joined with others."""
    for family, rename in _FAMILIES.items():
        if name.startswith(family):
            return rename(key)
    raise ValueError(f"there is no published layout of the backbone {name!r}; there is for {', '.join(_FAMILIES)}")


def relative_position_index(window: int) -> Tensor:
    """(window², window²) int64: row of the bias table for every pair of pixels of a window."""
    pixel = torch.arange(window)
    rows, columns = pixel.repeat_interleave(window), pixel.repeat(window)
    down = rows[:, None] - rows + window - 1
    right = columns[:, None] - columns + window - 1
    return down * (2 * window - 1) + right


def _resnet_key(key: str) -> str:
    stem = re.fullmatch(r"embedder\.embedder\.(\w+)\.(\w+)", key)
    if stem:
        return f"{_RESNET_PARTS[stem[1]]}1.{stem[2]}"
    shortcut = re.fullmatch(_RESNET_STAGE + r"shortcut\.(\w+)\.(\w+)", key)
    if shortcut:
        part = 0 if shortcut[3] == "convolution" else 1
        return f"layer{int(shortcut[1]) + 1}.{shortcut[2]}.downsample.{part}.{shortcut[4]}"
    inner = re.fullmatch(_RESNET_STAGE + r"layer\.(\d+)\.(\w+)\.(\w+)", key)
    assert inner, key
    return f"layer{int(inner[1]) + 1}.{inner[2]}.{_RESNET_PARTS[inner[4]]}{int(inner[3]) + 1}.{inner[5]}"


def _pvt_key(key: str) -> str:
    for pattern, replacement in _PVT:
        key = re.sub(pattern, replacement, key)
    stage = re.match(_PVT_STAGE, key)
    assert stage, key
    number, rest = int(stage[1]) + 1, key[stage.end() :]
    if rest.startswith("layer_norm."):
        return f"norm{number}.{rest.removeprefix('layer_norm.')}"
    if rest.startswith("patch_embedding."):
        return f"patch_embed{number}.{rest.removeprefix('patch_embedding.').replace('layer_norm.', 'norm.')}"
    return f"block{number}.{rest.removeprefix('blocks.')}"


def _swin_key(key: str) -> str:
    output_norm = re.fullmatch(r"hidden_states_norms\.stage(\d+)\.(\w+)", key)
    if output_norm:
        return f"norm{int(output_norm[1]) - 1}.{output_norm[2]}"
    for pattern, replacement in _SWIN:
        key = re.sub(pattern, replacement, key)
    return key


_FAMILIES = MappingProxyType({"resnet": _resnet_key, "tiny": _resnet_key, "pvt_v2": _pvt_key, "swin": _swin_key})
