"""Baseline networks of `transformers`, with a ResNet-50 and random, seeded weights."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import (
    DetrConfig,
    DetrForObjectDetection,
    DetrForSegmentation,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    ResNetConfig,
)


def mask2former(classes: int) -> nn.Module:
    """Make Mask2Former."""
    return _made(Mask2FormerForUniversalSegmentation, Mask2FormerConfig, classes)


def detr(classes: int) -> nn.Module:
    """Make DETR, which has boxes only."""
    return _made(DetrForObjectDetection, DetrConfig, classes, use_timm_backbone=False)


def panoptic_detr(classes: int) -> nn.Module:
    """Make DETR with its mask head."""
    return _made(DetrForSegmentation, DetrConfig, classes, use_timm_backbone=False)


def _made(
    network: Callable[..., nn.Module], config: Callable[..., object], classes: int, **options: object
) -> nn.Module:
    # The configurations' types do not know what their constructors take.
    stages: dict[str, Any] = {"out_features": [f"stage{number}" for number in range(1, 5)]}
    torch.manual_seed(0)
    return network(config(backbone_config=ResNetConfig(**stages), num_labels=classes, **options))
