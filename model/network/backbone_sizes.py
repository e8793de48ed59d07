"""Sizes of the backbones of both papers and of their tables, as data.

Sources: ResNet, arXiv 1512.03385; PVTv2, arXiv 2106.13797, table 1; Swin, arXiv 2103.14030, section 3.3.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

COARSE_STAGES = (2, 3, 4)
"""Stages (1-based) of strides 8, 16, 32, which the papers use."""


@dataclass(frozen=True)
class ResNetSize:
    """One ResNet: `stages` names the three (1-based) whose outputs are used."""

    embedding: int
    hidden: tuple[int, ...]
    depths: tuple[int, ...]
    block: str
    stages: tuple[int, ...] = COARSE_STAGES
    smallest: ClassVar[int] = 1


@dataclass(frozen=True)
class PvtSize:
    """One PVTv2; `linear_attention` pools keys and values to 7 x 7 instead of reducing them by convolution."""

    hidden: tuple[int, ...]
    depths: tuple[int, ...]
    mlp_ratios: tuple[int, ...]
    linear_attention: bool = False
    stages: tuple[int, ...] = COARSE_STAGES

    @property
    def smallest(self) -> int:
        """Pixels that a side needs: the reducing convolution covers 32 at every stage."""
        return 1 if self.linear_attention else 32


@dataclass(frozen=True)
class SwinSize:
    """One Swin: `embedding` channels in the first stage, twice as many in each further one."""

    embedding: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    stages: tuple[int, ...] = COARSE_STAGES
    smallest: ClassVar[int] = 1

    @property
    def hidden(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return tuple(self.embedding * 2**stage for stage in range(len(self.depths)))


BackboneSize = ResNetSize | PvtSize | SwinSize

_RESNET = (256, 512, 1024, 2048)
_PVT = (64, 128, 320, 512)
BACKBONES: Mapping[str, BackboneSize] = MappingProxyType(
    {
        "resnet50": ResNetSize(64, _RESNET, (3, 4, 6, 3), "bottleneck"),
        "resnet101": ResNetSize(64, _RESNET, (3, 4, 23, 3), "bottleneck"),
        "pvt_v2_b0": PvtSize((32, 64, 160, 256), (2, 2, 2, 2), (8, 8, 4, 4)),
        "pvt_v2_b2": PvtSize(_PVT, (3, 4, 6, 3), (8, 8, 4, 4)),
        "pvt_v2_b2_linear": PvtSize(_PVT, (3, 4, 6, 3), (8, 8, 4, 4), linear_attention=True),
        "pvt_v2_b5": PvtSize(_PVT, (3, 6, 40, 3), (4, 4, 4, 4)),
        "swin_tiny": SwinSize(96, (2, 2, 6, 2), (3, 6, 12, 24)),
        "swin_small": SwinSize(96, (2, 2, 18, 2), (3, 6, 12, 24)),
        "swin_base": SwinSize(128, (2, 2, 18, 2), (4, 8, 16, 32)),
        "swin_large": SwinSize(192, (2, 2, 18, 2), (6, 12, 24, 48)),
        # strides 4, 8, 16: for images of about 128 pixels
        "tiny": ResNetSize(32, (32, 64, 128), (2, 2, 2), "basic", stages=(1, 2, 3)),
    }
)
