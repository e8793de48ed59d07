"""A narrow and shallow backbone of every family, in place of one of the published sizes."""

from collections.abc import Mapping

import pytest
import torch

from model.network.backbone import Backbone
from model.network.backbones.efficientnet import EfficientNetSize
from model.network.backbones.family import BackboneSize
from model.network.backbones.pvt import PvtSize
from model.network.backbones.resnet import ResNetSize
from model.network.backbones.swin import SwinSize
from model.network.config import NetworkConfig

NARROW: Mapping[str, BackboneSize] = {
    "resnet50": ResNetSize((16, 24, 32, 40), (1, 2, 1, 1), embedding=8),
    "resnet101": ResNetSize((16, 24, 32, 40), (1, 2, 3, 1), embedding=8),
    "pvt_v2_b0": PvtSize((4, 8, 10, 16), (1, 2, 1, 2), (2, 2, 1, 1)),
    "pvt_v2_b2_linear": PvtSize((4, 8, 10, 16), (1, 2, 1, 2), (2, 2, 1, 1), linear_attention=True),
    "swin_tiny": SwinSize((4, 8, 16, 32), (2, 2, 2, 2), (1, 2, 2, 4)),
    "efficientnet_lite0": EfficientNetSize((8, 16, 24, 32), (1, 2, 2, 2), inner=(16, 24), embedding=8, first=8),
    "tiny": ResNetSize((16, 32, 48), (1, 1, 1), embedding=16, bottleneck=False, stages=(1, 2, 3)),
}


def use_narrow_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the table of sizes where it is used."""
    monkeypatch.setattr("model.network.backbone.BACKBONES", NARROW)
    monkeypatch.setattr("model.weights.loading.pretrained.BACKBONES", NARROW)


def narrow_backbone(name: str, seed: int = 0, **settings: str | int | float) -> Backbone:
    """Build a seeded backbone in evaluation mode; every parameter and statistic is random, so that none is constant."""
    config = NetworkConfig(**{**vars(NetworkConfig(backbone=name, frozen_stages=0)), **settings})
    backbone = Backbone(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, tensor in backbone.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator)
                scale = tensor[0].numel() ** -0.5 if tensor.dim() > 1 and "table" not in key else 1.0
                tensor.copy_(noise + 0.5 if tensor.dim() == 1 else (noise - 0.5) * 3 * scale)
    return backbone
