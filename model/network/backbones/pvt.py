"""PVTv2 (Wang et al., arXiv 2106.13797) by `transformers`, which is imported only when one is built."""

import re
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from model.network.backbones.family import BackboneSize

HEADS = (1, 2, 5, 8)
REDUCTIONS = (8, 4, 2, 1)
INNER_EPS = 1e-5
"""Of the norms in patch embeddings and attentions; all other norms have 1e-6."""

_STAGE = r"^encoder\.layers\.(\d+)\."
_OFFICIAL: tuple[tuple[str, str], ...] = (
    (r"\.attention\.query\.", ".attn.q."),
    (r"\.attention\.(key|value)\.", ".attn.kv."),
    (r"\.attention\.proj\.", ".attn.proj."),
    (r"\.attention\.spatial_reduction\.", ".attn.sr."),
    (r"\.attention\.layer_norm\.", ".attn.norm."),
    (r"\.layer_norm_([12])\.", r".norm\1."),
    (r"\.mlp\.dense([12])\.", r".mlp.fc\1."),
)


@dataclass(frozen=True)
class PvtSize(BackboneSize):
    """One PVTv2; `linear_attention` pools keys and values to 7 x 7 instead of reducing them by convolution."""

    mlp_ratios: tuple[int, ...] = (8, 8, 4, 4)
    linear_attention: bool = False

    stage_list: ClassVar[str] = "encoder.layers"
    # The stride of the last stage: torch does not finish with the terms that rounding other sides at each stage makes.
    export_multiple: ClassVar[int | None] = 32
    hub_prefixes: ClassVar[tuple[str, ...]] = ("encoder.", "pvt_v2.")
    joined: ClassVar[tuple[str, ...]] = ("key", "value")

    @property
    def smallest_side(self) -> int:
        """The reducing convolution covers 32 pixels at every stage."""
        return 1 if self.linear_attention else 32

    def build(self, stages: tuple[int, ...], drop_path: float, group_norm: bool) -> nn.Module:
        """See `BackboneSize.build`."""
        from transformers import PvtV2Backbone, PvtV2Config

        config = PvtV2Config(
            hidden_sizes=list(self.hidden),
            depths=list(self.depths),
            mlp_ratios=list(self.mlp_ratios),
            num_attention_heads=list(HEADS),
            sr_ratios=list(REDUCTIONS),
            linear_attention=self.linear_attention,
            drop_path_rate=drop_path,
        )
        config.set_output_features_output_indices([f"stage{stage}" for stage in stages], None)
        body = PvtV2Backbone(config)
        for name, module in body.named_modules():
            if name.endswith((".patch_embedding.layer_norm", ".attention.layer_norm")):
                assert isinstance(module, nn.LayerNorm)
                module.eps = INNER_EPS
        return body

    def official_key(self, key: str) -> str:
        """The name in the authors' files, which join key and value."""
        for pattern, replacement in _OFFICIAL:
            key = re.sub(pattern, replacement, key)
        stage = re.match(_STAGE, key)
        assert stage, key
        number, rest = int(stage[1]) + 1, key[stage.end() :]
        if rest.startswith("layer_norm."):
            return f"norm{number}.{rest.removeprefix('layer_norm.')}"
        if rest.startswith("patch_embedding."):
            return f"patch_embed{number}.{rest.removeprefix('patch_embedding.').replace('layer_norm.', 'norm.')}"
        return f"block{number}.{rest.removeprefix('blocks.')}"

    def body_key(self, key: str) -> str:
        """See `BackboneSize.body_key`."""
        return key.removeprefix("pvt_v2.")
