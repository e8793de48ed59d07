"""Image features at three strides, from a ResNet, PVTv2 or Swin of `transformers` (Panoptic SegFormer, section 3.1)."""

import torch.nn.functional as F
from torch import Tensor, nn

from model.network.backbone_bodies import body_parts, build_body
from model.network.backbone_sizes import BACKBONES, ResNetSize
from model.network.config import NetworkConfig


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
