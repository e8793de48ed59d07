"""EfficientNet-Lite computes what TensorFlow computes."""

from math import ceil

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from model.network.backbone import Backbone
from model.network.backbones import BACKBONES
from model.network.backbones.efficientnet import EXPANSION, EfficientNetSize, Rescale, SameConv2d
from model.network.config import NetworkConfig
from model.pixels import normalize
from tests.model.network.narrow_backbones import narrow_backbone, use_narrow_backbones


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@torch.no_grad()
def test_padding_is_that_of_tensorflow(kernel: int, stride: int) -> None:
    """`SAME` by its definition: as little as gives ceil(side / stride), and the odd pixel at the far end."""
    torch.manual_seed(0)
    convolution = SameConv2d(3, 4, kernel, stride, kernel // 2 if stride == 1 else 0)
    for height, width in ((1, 2), (4, 7), (8, 8), (9, 12)):
        images = torch.randn(1, 3, height, width)
        totals = [max((ceil(side / stride) - 1) * stride + kernel - side, 0) for side in (height, width)]
        (top, bottom), (left, right) = ((total // 2, total - total // 2) for total in totals)
        padded = F.pad(images, (left, right, top, bottom))
        expected = F.conv2d(padded, convolution.weight, convolution.bias, stride)
        torch.testing.assert_close(convolution(images), expected)


def test_pixels_are_rescaled_before_the_padding() -> None:
    """(x - 127) / 128 of every pixel, so that what the stem pads is its gray, as in the training of the weights."""
    pixels = torch.arange(256, dtype=torch.uint8).repeat(3, 1).T.reshape(1, 16, 16, 3)
    rescaled = Rescale()(normalize(pixels))
    torch.testing.assert_close(rescaled, (pixels.permute(0, 3, 1, 2) - 127.0) / 128, atol=1e-6, rtol=0)


def test_blocks_are_those_of_lite0() -> None:
    """Kernels and channels of the paper's table 1, after the first block."""
    size = BACKBONES["efficientnet_lite0"]
    assert isinstance(size, EfficientNetSize)
    groups = [(3, 24, 2), (5, 40, 2), (3, 80, 3), (5, 112, 3), (5, 192, 4), (3, 320, 1)]
    assert [block for stage in size.blocks() for block in stage] == [
        (kernel, channels) for kernel, channels, count in groups for _ in range(count)
    ]
    with torch.device("meta"):
        body = Backbone(NetworkConfig(backbone="efficientnet_lite0", frozen_stages=0)).body
    depthwise = [part for part in body.modules() if isinstance(part, nn.Conv2d) and part.groups > 1]
    assert [part.in_channels for part in depthwise] == [
        32,
        *(EXPANSION * channels for channels in (16, 24, 24, 40, 40, *[80] * 3, *[112] * 3, *[192] * 4)),
    ]
    assert [part.stride[0] for part in depthwise] == [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    assert {(norm.eps, norm.momentum) for norm in body.modules() if isinstance(norm, nn.BatchNorm2d)} == {(1e-3, 0.01)}


def test_group_norm_and_stochastic_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Branches of blocks with a skip are dropped; their probability grows to that of the last block."""
    use_narrow_backbones(monkeypatch)
    backbone = narrow_backbone("efficientnet_lite0", drop_path=0.7, backbone_norm="group")
    assert not any(isinstance(part, nn.BatchNorm2d) for part in backbone.modules())
    hooks = {name: hook.probability for name, part in backbone.named_modules() for hook in part._forward_hooks.values()}
    assert hooks == pytest.approx({"body.encoder.stages.1.1.branch": 0.3})
