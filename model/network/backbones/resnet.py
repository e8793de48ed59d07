"""ResNet v1.5 (He et al., arXiv 1512.03385; stride in the 3x3 convolution), with the weight names of `transformers`."""

import re
from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from model.network.backbones.family import BackboneSize, FeatureMaps

GROUPS = 16
"""Groups of group norm where it replaces batch norm; they divide the channels of every stage."""
REDUCTION = 4
"""Of the channels inside a bottleneck."""

_STAGE = r"^encoder\.stages\.(\d+)\.layers\.(\d+)\."
_PARTS = {"convolution": "conv", "normalization": "bn"}


@dataclass(frozen=True)
class ResNetSize(BackboneSize):
    """One ResNet; `embedding` is the number of channels after the stem."""

    embedding: int = 64
    bottleneck: bool = True

    stem: ClassVar[str] = "embedder"
    stage_list: ClassVar[str] = "encoder.stages"
    has_batch_norm: ClassVar[bool] = True
    frozen_stages: ClassVar[int] = 1
    hub_prefixes: ClassVar[tuple[str, ...]] = ("embedder.", "encoder.", "resnet.")
    optional_entries: ClassVar[tuple[str, ...]] = (r"\.num_batches_tracked$",)  # unused, and older files lack them

    def build(self, stages: tuple[int, ...], drop_path: float, group_norm: bool) -> nn.Module:
        """See `BackboneSize.build`."""
        return ResNet(self, stages, group_norm)

    def official_key(self, key: str) -> str:
        """The name in torchvision's and mmdet's files."""
        stem = re.fullmatch(r"embedder\.embedder\.(\w+)\.(\w+)", key)
        if stem:
            return f"{_PARTS[stem[1]]}1.{stem[2]}"
        shortcut = re.fullmatch(_STAGE + r"shortcut\.(\w+)\.(\w+)", key)
        if shortcut:
            part = 0 if shortcut[3] == "convolution" else 1
            return f"layer{int(shortcut[1]) + 1}.{shortcut[2]}.downsample.{part}.{shortcut[4]}"
        inner = re.fullmatch(_STAGE + r"layer\.(\d+)\.(\w+)\.(\w+)", key)
        assert inner, key
        return f"layer{int(inner[1]) + 1}.{inner[2]}.{_PARTS[inner[4]]}{int(inner[3]) + 1}.{inner[5]}"

    def body_key(self, key: str) -> str:
        """See `BackboneSize.body_key`."""
        return key.removeprefix("resnet.")


class ResNet(nn.Module):
    """Stem and stages; batch norm, or group norm, which does not mix images."""

    def __init__(self, size: ResNetSize, stages: tuple[int, ...], group_norm: bool) -> None:
        super().__init__()
        self.outputs = stages
        stem = _conv_norm(3, size.embedding, 7, 2, group_norm)
        self.embedder = nn.Sequential(OrderedDict(embedder=stem, pooler=nn.MaxPool2d(3, stride=2, padding=1)))
        widths, strides = pairwise((size.embedding, *size.hidden)), (1, *[2] * (len(size.hidden) - 1))
        built = nn.Sequential()
        for (channels, out_channels), depth, stride in zip(widths, size.depths, strides, strict=True):
            blocks = nn.Sequential(Residual(channels, out_channels, stride, size.bottleneck, group_norm))
            for _ in range(depth - 1):
                blocks.append(Residual(out_channels, out_channels, 1, size.bottleneck, group_norm))
            built.append(nn.Sequential(OrderedDict(layers=blocks)))
        self.encoder = nn.Sequential(OrderedDict(stages=built))
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.normal_(part.weight)  # `transformers` draws twice; so a seed gives the weights that it gives
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> FeatureMaps:
        """Maps of the chosen stages of images (B, 3, H, W)."""
        return FeatureMaps.of(self.embedder(images), self.encoder.get_submodule("stages"), self.outputs)


class Residual(nn.Module):
    """Two 3x3 convolutions, or a bottleneck around one, added to the input."""

    def __init__(self, channels: int, out_channels: int, stride: int, bottleneck: bool, group_norm: bool) -> None:
        super().__init__()
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels != out_channels:
            self.shortcut = _conv_norm(channels, out_channels, 1, stride, group_norm, relu=False)
        if bottleneck:
            inner = out_channels // REDUCTION
            self.layer = nn.Sequential(
                _conv_norm(channels, inner, 1, 1, group_norm),
                _conv_norm(inner, inner, 3, stride, group_norm),
                _conv_norm(inner, out_channels, 1, 1, group_norm, relu=False),
            )
        else:
            self.layer = nn.Sequential(
                _conv_norm(channels, out_channels, 3, stride, group_norm),
                _conv_norm(out_channels, out_channels, 3, 1, group_norm, relu=False),
            )
        self.activation = nn.ReLU()

    def forward(self, states: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C', h', w')."""
        updated = self.layer(states)
        updated += self.shortcut(states)
        activated: Tensor = self.activation(updated)
        return activated


def _conv_norm(
    channels: int, out_channels: int, kernel: int, stride: int, group_norm: bool, relu: bool = True
) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            convolution=nn.Conv2d(channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False),
            normalization=nn.GroupNorm(GROUPS, out_channels) if group_norm else nn.BatchNorm2d(out_channels),
            activation=nn.ReLU() if relu else nn.Identity(),
        )
    )
