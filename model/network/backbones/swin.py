"""Swin (Liu et al., arXiv 2103.14030) by `transformers`, which is imported only when one is built."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from model.network.backbones.drop_path import DropBranch
from model.network.backbones.family import BackboneSize

WINDOW = 7
PRETRAINED_SIZE = 224
POSITION_INDEX = ".attn.relative_position_index"

_BIAS_TABLE = ".attn.relative_position_bias_table"
_OFFICIAL: tuple[tuple[str, str], ...] = (
    (r"^swin\.embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^swin\.embeddings\.norm\.", "patch_embed.norm."),
    (r"^swin\.encoder\.", ""),
    (r"\.attention\.[qkv]_proj\.", ".attn.qkv."),
    (r"\.attention\.o_proj\.", ".attn.proj."),
    (r"\.attention\.relative_position_bias\.", ".attn."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
)
_TRANSFORMERS_4: tuple[tuple[str, str], ...] = (
    (r"\.attention\.self\.query\.", ".attention.q_proj."),
    (r"\.attention\.self\.key\.", ".attention.k_proj."),
    (r"\.attention\.self\.value\.", ".attention.v_proj."),
    (r"\.attention\.self\.relative_position", ".attention.relative_position_bias.relative_position"),
    (r"\.attention\.output\.dense\.", ".attention.o_proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
)
"""Names of `transformers` 4, which the files on the hub still use."""


@dataclass(frozen=True)
class SwinSize(BackboneSize):
    """One Swin; every stage has twice the channels of the one before."""

    heads: tuple[int, ...]

    stem: ClassVar[str] = "swin.embeddings"
    stage_list: ClassVar[str] = "swin.encoder.layers"  # the output norms are outside: they never come pre-trained
    export_multiple: ClassVar[int | None] = None  # torch traces the windows for one image size only
    hub_prefixes: ClassVar[tuple[str, ...]] = ("embeddings.", "encoder.", "swin.")
    joined: ClassVar[tuple[str, ...]] = ("q_proj", "k_proj", "v_proj")
    unused_entries: ClassVar[tuple[str, ...]] = (
        *BackboneSize.unused_entries,
        r"^(swin\.layernorm|norm)\.",  # the norm before the classifier
        r"\.attn_mask$",  # masks of shifted windows in images of 224 pixels
        r"^swin\..*\.relative_position_index$",  # follows from the window size
    )
    optional_entries: ClassVar[tuple[str, ...]] = (r"^hidden_states_norms\.",)  # output norms: no classifier has them

    def build(self, stages: tuple[int, ...], drop_path: float, group_norm: bool) -> nn.Module:
        """See `BackboneSize.build`."""
        from transformers import SwinBackbone, SwinConfig
        from transformers.models.swin.modeling_swin import SwinDropPath, SwinLayer

        config = SwinConfig(
            image_size=PRETRAINED_SIZE,
            embed_dim=self.hidden[0],
            depths=list(self.depths),
            num_heads=list(self.heads),
            window_size=WINDOW,
            drop_path_rate=drop_path,
        )
        config.set_output_features_output_indices([f"stage{stage}" for stage in stages], None)
        body = SwinBackbone(config)
        # Nothing reads the output of this norm: its weights would never have a gradient, and no count includes them.
        body.swin.register_module("layernorm", nn.Identity())
        for block in body.modules():
            if isinstance(block, SwinLayer) and isinstance(block.drop_path, SwinDropPath):
                block.mlp.register_forward_hook(DropBranch(block.drop_path.drop_prob))
        return body

    def official_key(self, key: str) -> str:
        """The name in the authors' files, which join query, key and value."""
        output_norm = re.fullmatch(r"hidden_states_norms\.stage(\d+)\.(\w+)", key)
        if output_norm:
            return f"norm{int(output_norm[1]) - 1}.{output_norm[2]}"
        for pattern, replacement in _OFFICIAL:
            key = re.sub(pattern, replacement, key)
        return key

    def body_key(self, key: str) -> str:
        """See `BackboneSize.body_key`."""
        for old, new in _TRANSFORMERS_4:
            key = re.sub(old, new, key)
        return f"swin.{key}" if key.startswith(("embeddings.", "encoder.", "layernorm.")) else key

    def official_buffers(self, keys: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The index of relative positions of every block."""
        tables = [name for name in map(self.official_key, keys) if name.endswith(_BIAS_TABLE)]
        return {name.removesuffix(_BIAS_TABLE) + POSITION_INDEX: relative_position_index(WINDOW) for name in tables}


def relative_position_index(window: int) -> Tensor:
    """(window², window²) int64: row of the bias table for every pair of pixels of a window."""
    pixel = torch.arange(window)
    rows, columns = pixel.repeat_interleave(window), pixel.repeat(window)
    down = rows[:, None] - rows + window - 1
    right = columns[:, None] - columns + window - 1
    return down * (2 * window - 1) + right
