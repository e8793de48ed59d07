"""Image features at three strides or four: one of `BACKBONES`, frozen as published."""

import torch.nn.functional as F
from torch import Tensor, nn

from model.network.backbones import BACKBONES
from model.network.backbones.family import BackboneSize
from model.network.config import NetworkConfig


class Backbone(nn.Module):
    """One of `BACKBONES`, with batch norm and the first stages frozen as published.

    `NetworkConfig.frozen_stages` means the same for all families: n freezes the stem and the first n stages, which
    also stay in evaluation mode. `NetworkConfig.backbone_norm` concerns batch norm: of ResNets and EfficientNets.

    Attributes:
        name: key in `BACKBONES`.
        channels: channels of each map, finest first.
        strides: stride of each map.
        finer: number of maps before the papers' three: 1 where the network needs one more, else 0.

    Raises:
        ValueError: unknown backbone, more frozen stages than it has, or a norm that it cannot have.
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
        if config.backbone_norm != "frozen" and not size.has_batch_norm:
            raise ValueError(
                f"model.backbone_norm is {config.backbone_norm!r}, which is for ResNets and EfficientNets; "
                f"{config.backbone} has layer norm, which is always trained: leave it at 'frozen'"
            )
        self.name = config.backbone
        self.finer = int(config.needs_finer_map and size.stages[0] > 1)
        stages = tuple(range(size.stages[0] - self.finer, size.stages[-1] + 1))
        self.channels = tuple(size.hidden[stage - 1] for stage in stages)
        self.strides = tuple(2 ** (stage + 1) for stage in stages)
        self._smallest = size.smallest_side
        self.body = size.build(stages, config.drop_path, group_norm=config.backbone_norm == "group")
        self._frozen = self._freeze(size, config)
        self.train()

    def _freeze(self, size: BackboneSize, config: NetworkConfig) -> tuple[nn.Module, ...]:
        """Stop the gradient of the parts that stay fixed, and return them."""
        frozen = list(self.body.get_submodule(size.stage_list).children())[: config.frozen_stages]
        if config.frozen_stages and size.stem:
            frozen.append(self.body.get_submodule(size.stem))
        if config.backbone_norm == "frozen":
            frozen += [part for part in self.body.modules() if isinstance(part, nn.BatchNorm2d)]
        for module in frozen:
            module.requires_grad_(False)
        return tuple(frozen)

    def train(self, mode: bool = True) -> "Backbone":
        """Set the mode as in `nn.Module`, except that frozen parts stay in evaluation mode."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute maps (B, `channels[i]`, ceil(H / `strides[i]`), ceil(W / `strides[i]`)) of images (B, 3, H, W)."""
        height, width = images.shape[-2:]
        down, right = max(0, self._smallest - height), max(0, self._smallest - width)
        if not (down or right):
            return tuple(self.body(images).feature_maps)
        features = self.body(F.pad(images, (0, right, 0, down))).feature_maps
        return tuple(
            feature[..., : -(-height // stride), : -(-width // stride)]
            for feature, stride in zip(features, self.strides, strict=True)
        )
