"""Image features at three strides, from a ResNet, PVTv2 or Swin of `transformers` (Panoptic SegFormer, section 3.1)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PvtV2Backbone, PvtV2Config, ResNetBackbone, ResNetConfig, SwinBackbone, SwinConfig
from transformers.models.swin.modeling_swin import SwinDropPath, SwinLayer

from model.network.backbone_sizes import BACKBONES, BackboneSize, PvtSize, ResNetSize, SwinSize
from model.network.config import NetworkConfig

PVT_HEADS = (1, 2, 5, 8)
PVT_REDUCTIONS = (8, 4, 2, 1)
PVT_INNER_EPS = 1e-5
"""Of the norms in PVTv2's patch embeddings and attentions; its other norms have 1e-6."""
SWIN_WINDOW = 7
PRETRAINED_SIZE = 224
GROUPS = 16
"""Of group norm where it replaces batch norm; divides the channels of every stage."""


def build_body(size: BackboneSize, stages: tuple[int, ...], drop_path: float, group_norm: bool) -> nn.Module:
    """A network whose output has `feature_maps`, one for each of `stages` (1-based), finest first.

    Args:
        size: what to build.
        stages: whose maps to give.
        drop_path: probability of stochastic depth at the last block; it grows from 0 at the first. ResNets have none.
        group_norm: in the place of a ResNet's batch norm.
    """
    outputs = [f"stage{stage}" for stage in stages]
    if isinstance(size, ResNetSize):
        return _resnet(size, outputs, group_norm)
    if isinstance(size, PvtSize):
        return _pvt(size, outputs, drop_path)
    return _swin(size, outputs, drop_path)


def body_parts(body: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """What comes before the first stage, and the stages.

    The norms of Swin's outputs belong to neither: no classifier has them, so they always have to be learnt.
    """
    if isinstance(body, ResNetBackbone):
        return [body.embedder], list(body.encoder.stages)
    if isinstance(body, SwinBackbone):
        return [body.swin.embeddings], list(body.swin.encoder.layers)
    assert isinstance(body, PvtV2Backbone)
    return [], list(body.encoder.layers)


def _resnet(size: ResNetSize, outputs: list[str], group_norm: bool) -> nn.Module:
    config = ResNetConfig(
        embedding_size=size.embedding,
        hidden_sizes=list(size.hidden),
        depths=list(size.depths),
        layer_type=size.block,
    )
    config.set_output_features_output_indices(out_features=outputs, out_indices=None)
    body = ResNetBackbone(config)
    if group_norm:
        _replace_batch_norms(body)
    return body


def _pvt(size: PvtSize, outputs: list[str], drop_path: float) -> nn.Module:
    config = PvtV2Config(
        hidden_sizes=list(size.hidden),
        depths=list(size.depths),
        mlp_ratios=list(size.mlp_ratios),
        num_attention_heads=list(PVT_HEADS),
        sr_ratios=list(PVT_REDUCTIONS),
        linear_attention=size.linear_attention,
        drop_path_rate=drop_path,
    )
    config.set_output_features_output_indices(out_features=outputs, out_indices=None)
    body = PvtV2Backbone(config)
    for name, module in body.named_modules():
        if name.endswith((".patch_embedding.layer_norm", ".attention.layer_norm")):
            assert isinstance(module, nn.LayerNorm)
            module.eps = PVT_INNER_EPS
    return body


def _swin(size: SwinSize, outputs: list[str], drop_path: float) -> nn.Module:
    config = SwinConfig(
        image_size=PRETRAINED_SIZE,
        embed_dim=size.embedding,
        depths=list(size.depths),
        num_heads=list(size.heads),
        window_size=SWIN_WINDOW,
        drop_path_rate=drop_path,
    )
    config.set_output_features_output_indices(out_features=outputs, out_indices=None)
    body = SwinBackbone(config)
    # It normalizes what nobody reads: its weights would never have a gradient, and are in no count of parameters.
    body.swin.register_module("layernorm", nn.Identity())
    for block in body.modules():
        if isinstance(block, SwinLayer) and isinstance(block.drop_path, SwinDropPath):
            block.mlp.register_forward_hook(DropBranch(block.drop_path.drop_prob))
    return body


@dataclass(frozen=True)
class DropBranch:
    """Stochastic depth of an MLP as a forward hook: in training its output (B, ...) is 0 for some of the images."""

    probability: float

    def __call__(self, mlp: nn.Module, inputs: tuple[Tensor, ...], branch: Tensor) -> Tensor:
        """The branch as it is, or as it is kept."""
        if not mlp.training:
            return branch
        keep = 1 - self.probability
        kept = torch.empty(len(branch), *[1] * (branch.dim() - 1), dtype=branch.dtype, device=branch.device)
        return branch * kept.bernoulli_(keep) / keep


def _replace_batch_norms(module: nn.Module) -> None:
    """Put group norm, which does not mix images, in the place of every batch norm."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.GroupNorm(GROUPS, child.num_features))
        else:
            _replace_batch_norms(child)


class Backbone(nn.Module):
    """One of `BACKBONES`, with the published freezing: batch norm and first stages.

    `NetworkConfig.frozen_stages` counts alike for all: n freezes what comes before the first stage, and n stages; what
    is frozen stays in evaluation mode too. `NetworkConfig.backbone_norm` is about batch norm, which only ResNets have.

    Attributes:
        name: the row of `BACKBONES`.
        channels: of each map, finest first.
        strides: of each map.
        finer: how many maps come before the papers' three, for the mask head fpn: 1, or 0.

    Raises:
        ValueError: unknown backbone, more frozen stages than it has, or a norm it cannot have.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        if config.backbone not in BACKBONES:
            raise ValueError(f"model.backbone is {config.backbone!r}; expected one of {sorted(BACKBONES)}")
        size = BACKBONES[config.backbone]
        if not 0 <= config.frozen_stages <= len(size.hidden):
            raise ValueError(
                f"model.frozen_stages is {config.frozen_stages}; {config.backbone} accepts 0..{len(size.hidden)}"
            )
        if config.backbone_norm != "frozen" and not isinstance(size, ResNetSize):
            raise ValueError(
                f"model.backbone_norm is {config.backbone_norm!r}, which is for ResNets; {config.backbone} has layer "
                "norm, which is always trained: leave it at 'frozen'"
            )
        self.name = config.backbone
        self.finer = int(config.mask_head == "fpn" and size.stages[0] > 1)
        stages = tuple(range(size.stages[0] - self.finer, size.stages[-1] + 1))
        self.channels = tuple(size.hidden[stage - 1] for stage in stages)
        self.strides = tuple(2 ** (stage + 1) for stage in stages)
        self._smallest = size.smallest
        self.body = build_body(size, stages, config.drop_path, group_norm=config.backbone_norm == "group")
        self._frozen = self._freeze(config)
        self.train()

    def _freeze(self, config: NetworkConfig) -> tuple[nn.Module, ...]:
        """Stop the gradient of all that stays fixed, and return it."""
        frozen: list[nn.Module] = []
        if config.frozen_stages:
            stem, stages = body_parts(self.body)
            frozen = [*stem, *stages[: config.frozen_stages]]
        if config.backbone_norm == "frozen":
            frozen += [part for part in self.body.modules() if isinstance(part, nn.BatchNorm2d)]
        for module in frozen:
            module.requires_grad_(False)
        return tuple(frozen)

    def train(self, mode: bool = True) -> "Backbone":
        """As in `nn.Module`, but what is frozen stays in evaluation mode."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps (B, `channels[i]`, ceil(H / `strides[i]`), ceil(W / `strides[i]`)) of images (B, 3, H, W)."""
        height, width = images.shape[-2:]
        down, right = max(0, self._smallest - height), max(0, self._smallest - width)
        if not (down or right):
            return tuple(self.body(images).feature_maps)
        features = self.body(F.pad(images, (0, right, 0, down))).feature_maps
        return tuple(
            feature[..., : -(-height // stride), : -(-width // stride)]
            for feature, stride in zip(features, self.strides, strict=True)
        )
