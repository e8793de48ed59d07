"""EfficientNet-Lite as in TensorFlow (Tan and Le, arXiv 1905.11946, with ReLU6, without squeeze-and-excitation).

TensorFlow's weights ask for its padding, its epsilon of batch norm, and pixels scaled to about -1..1: see `SameConv2d`,
`NORM_EPS` and `Rescale`.
"""

import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.backbones.drop_path import DropBranch
from model.network.backbones.family import BackboneSize, FeatureMaps
from model.pixels import IMAGE_MEAN, IMAGE_STD

NORM_EPS, NORM_MOMENTUM = 1e-3, 0.01
GROUPS = 8
"""Groups of group norm where it replaces batch norm; they divide the channels everywhere."""
EXPANSION = 6
"""Of the channels inside a block, except the first."""
PIXEL_CENTER, PIXEL_SCALE = 127.0, 128.0
"""The weights were trained on (pixel - center) / scale."""

_PARTS = {
    "expand.convolution": "_expand_conv",
    "expand.normalization": "_bn0",
    "depthwise.convolution": "_depthwise_conv",
    "depthwise.normalization": "_bn1",
    "project.convolution": "_project_conv",
    "project.normalization": "_bn2",
}


@dataclass(frozen=True)
class EfficientNetSize(BackboneSize):
    """One EfficientNet-Lite, whose first block, of stride 2, counts as part of the stem.

    The last two stages change kernel and channels on the way: the third after half of its blocks, the fourth before its
    last block. `inner` are the channels before these changes.
    """

    inner: tuple[int, int]
    embedding: int = 32
    first: int = 16
    """Channels of the first block."""

    stem: ClassVar[str] = "embedder"
    stage_list: ClassVar[str] = "encoder.stages"
    has_batch_norm: ClassVar[bool] = True
    export_multiple: ClassVar[int | None] = 32  # padding depends on whether sides are even, which a graph has to know
    hub_prefixes: ClassVar[tuple[str, ...]] = ("embedder.", "encoder.")
    unused_entries: ClassVar[tuple[str, ...]] = (r"^_(conv_head|bn1|fc)\.",)
    optional_entries: ClassVar[tuple[str, ...]] = (r"\.num_batches_tracked$",)

    def build(self, stages: tuple[int, ...], drop_path: float, group_norm: bool) -> nn.Module:
        """See `BackboneSize.build`."""
        return EfficientNet(self, stages, drop_path, group_norm)

    def blocks(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """Kernel and channels of every block of each stage."""
        (one, two, three, four), (first, second, third, fourth) = self.depths, self.hidden
        return (
            ((3, first),) * one,
            ((5, second),) * two,
            ((3, self.inner[0]),) * (three // 2) + ((5, third),) * (three - three // 2),
            ((5, self.inner[1]),) * (four - 1) + ((3, fourth),),
        )

    def official_key(self, key: str) -> str:
        """The name in the published PyTorch files, which count all blocks."""
        stem = re.fullmatch(r"embedder\.convolution\.(convolution|normalization)\.(\w+)", key)
        if stem:
            return f"{'_conv_stem' if stem[1] == 'convolution' else '_bn0'}.{stem[2]}"
        block = re.fullmatch(r"(?:embedder\.block|encoder\.stages\.(\d+)\.(\d+))\.branch\.(\w+\.\w+)\.(\w+)", key)
        assert block, key
        number = 0 if block[1] is None else 1 + sum(self.depths[: int(block[1])]) + int(block[2])
        return f"_blocks.{number}.{_PARTS[block[3]]}.{block[4]}"

    def body_key(self, key: str) -> str:
        """See `BackboneSize.body_key`."""
        return key


class EfficientNet(nn.Module):
    """Stem and stages of inverted residuals; batch norm, or group norm, which does not mix images."""

    def __init__(self, size: EfficientNetSize, stages: tuple[int, ...], drop_path: float, group_norm: bool) -> None:
        super().__init__()
        self.outputs = stages
        self.embedder = nn.Sequential(
            OrderedDict(
                rescale=Rescale(),
                convolution=_conv_norm(3, size.embedding, 3, 2, group_norm),
                block=InvertedResidual(size.embedding, size.first, 3, 1, 1, group_norm),
            )
        )
        built, channels, count = nn.Sequential(), size.first, 0
        for blocks in size.blocks():
            stage = nn.Sequential()
            for index, (kernel, out_channels) in enumerate(blocks):
                count += 1
                block = InvertedResidual(channels, out_channels, kernel, 1 if index else 2, EXPANSION, group_norm)
                if block.has_skip and drop_path:
                    block.branch.register_forward_hook(DropBranch(drop_path * count / sum(size.depths)))
                stage.append(block)
                channels = out_channels
            built.append(stage)
        self.encoder = nn.Sequential(OrderedDict(stages=built))
        for part in self.modules():
            if isinstance(part, nn.Conv2d):  # as in TensorFlow: by the outputs that one input has
                nn.init.normal_(part.weight, std=(2 * part.groups / part.weight[:, 0].numel()) ** 0.5)

    def forward(self, images: Tensor) -> FeatureMaps:
        """Maps of the chosen stages of images (B, 3, H, W)."""
        return FeatureMaps.of(self.embedder(images), self.encoder.get_submodule("stages"), self.outputs)


class Rescale(nn.Module):
    """From ImageNet's mean and deviation to the pixels that the weights know, before the stem pads with zeros."""

    def __init__(self) -> None:
        super().__init__()
        mean, deviation = (torch.tensor(values)[:, None, None] for values in (IMAGE_MEAN, IMAGE_STD))
        self.register_buffer("scale", deviation / PIXEL_SCALE, persistent=False)
        self.register_buffer("shift", (mean - PIXEL_CENTER) / PIXEL_SCALE, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to the same."""
        return images * self.get_buffer("scale") + self.get_buffer("shift")


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's padding `SAME`: with stride 2, even sides are padded more at the far end."""

    def forward(self, states: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C', ceil(h / stride), ceil(w / stride))."""
        if self.stride[0] == 1:
            return super().forward(states)
        far = self.kernel_size[0] // 2
        top, left = (far - 1 + side % 2 for side in states.shape[-2:])
        return super().forward(F.pad(states, (left, far, top, far)))


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution and projection without activation, added to the input of equal shape."""

    def __init__(
        self, channels: int, out_channels: int, kernel: int, stride: int, expansion: int, group_norm: bool
    ) -> None:
        super().__init__()
        inner = channels * expansion
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if expansion > 1:
            parts["expand"] = _conv_norm(channels, inner, 1, 1, group_norm)
        parts["depthwise"] = _conv_norm(inner, inner, kernel, stride, group_norm, groups=inner)
        parts["project"] = _conv_norm(inner, out_channels, 1, 1, group_norm, activation=False)
        self.branch = nn.Sequential(parts)
        self.has_skip = stride == 1 and channels == out_channels

    def forward(self, states: Tensor) -> Tensor:
        """(B, C, h, w) to (B, C', h', w')."""
        updated: Tensor = self.branch(states)
        return updated + states if self.has_skip else updated


def _conv_norm(
    channels: int,
    out_channels: int,
    kernel: int,
    stride: int,
    group_norm: bool,
    groups: int = 1,
    activation: bool = True,
) -> nn.Sequential:
    padding = kernel // 2 if stride == 1 else 0
    norm = nn.GroupNorm(GROUPS, out_channels) if group_norm else nn.BatchNorm2d(out_channels, NORM_EPS, NORM_MOMENTUM)
    return nn.Sequential(
        OrderedDict(
            convolution=SameConv2d(channels, out_channels, kernel, stride, padding, groups=groups, bias=False),
            normalization=norm,
            activation=nn.ReLU6() if activation else nn.Identity(),
        )
    )
