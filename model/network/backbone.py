"""Image features at three strides. The networks come from `transformers`; here they are rows of a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor, nn
from transformers import ResNetBackbone, ResNetConfig

from model.network.config import NetworkConfig

GROUPS = 16
"""Of group norm where it replaces batch norm; divides the channels of every stage."""


@dataclass(frozen=True)
class ResNetSize:
    """One ResNet: `stages` names the three (1-based) whose outputs are used."""

    embedding: int
    hidden: tuple[int, ...]
    depths: tuple[int, ...]
    block: str
    stages: tuple[int, int, int]


BACKBONES: Mapping[str, ResNetSize] = MappingProxyType(
    {
        # strides 8, 16, 32
        "resnet50": ResNetSize(64, (256, 512, 1024, 2048), (3, 4, 6, 3), "bottleneck", (2, 3, 4)),
        # strides 4, 8, 16: for pictures of about 128 pixels
        "tiny": ResNetSize(32, (32, 64, 128), (2, 2, 2), "basic", (1, 2, 3)),
    }
)


class Backbone(nn.Module):
    """A ResNet v1.5 (stride in the 3x3) with the published freezing: batch norm and first stages.

    Raises:
        ValueError: unknown backbone, or more frozen stages than it has.
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
        self.channels = tuple(size.hidden[stage - 1] for stage in size.stages)
        resnet = ResNetConfig(
            embedding_size=size.embedding,
            hidden_sizes=list(size.hidden),
            depths=list(size.depths),
            layer_type=size.block,
        )
        resnet.set_output_features_output_indices(
            out_features=[f"stage{stage}" for stage in size.stages], out_indices=None
        )
        self.body = ResNetBackbone(resnet)
        if config.backbone_norm == "group":
            _replace_batch_norms(self.body)
        self._frozen_norms = self._freeze(config)
        self.train()

    def _freeze(self, config: NetworkConfig) -> tuple[nn.BatchNorm2d, ...]:
        """Stop the gradient of all that stays fixed; return the norms whose statistics stay fixed too."""
        frozen: list[nn.Module] = []
        if config.frozen_stages:
            frozen = [self.body.embedder, *self.body.encoder.stages[: config.frozen_stages]]
        for module in frozen:
            module.requires_grad_(False)
        searched = [self.body] if config.backbone_norm == "frozen" else frozen
        norms = tuple(part for module in searched for part in module.modules() if isinstance(part, nn.BatchNorm2d))
        for norm in norms:
            norm.requires_grad_(False)
        return norms

    def train(self, mode: bool = True) -> "Backbone":
        """As in `nn.Module`, but frozen norms stay in evaluation mode."""
        super().train(mode)
        for norm in self._frozen_norms:
            norm.eval()
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images (B, 3, H, W) to three maps (B, `channels[i]`, H / stride, W / stride), finest first."""
        features: tuple[Tensor, ...] = self.body(images).feature_maps
        return features


def _replace_batch_norms(module: nn.Module) -> None:
    """Put group norm, which does not mix pictures, in the place of every batch norm."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.GroupNorm(GROUPS, child.num_features))
        else:
            _replace_batch_norms(child)
