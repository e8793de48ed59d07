"""The neck (paper, section 3.1): projects all levels to one channel count and adds coarser levels."""

from torch import Tensor, nn

from model.network.config import NetworkConfig
from model.network.layers import xavier_matrices

GROUPS = 32


class Neck(nn.Module):
    """1x1 projections of the backbone's maps, and extra levels by strided 3x3 convolution of its raw last map.

    Each is followed by group norm, without an activation. As published, the norm's statistics include padded pixels,
    so that an image padded in a batch is not computed exactly as the image alone.
    """

    def __init__(self, in_channels: tuple[int, ...], config: NetworkConfig) -> None:
        super().__init__()
        self.projections = nn.ModuleList(_conv_norm(size, config.channels, kernel=1) for size in in_channels)
        missing = config.levels - len(in_channels)
        inputs = [in_channels[-1], *[config.channels] * missing][:missing]
        self.extra = nn.ModuleList(_conv_norm(size, config.channels, kernel=3) for size in inputs)
        xavier_matrices(self)

    def forward(self, features: tuple[Tensor, ...]) -> list[Tensor]:
        """Turn three backbone maps into L maps (B, C, h, w), finest first."""
        levels = [project(feature) for project, feature in zip(self.projections, features, strict=True)]
        coarsest = features[-1]
        for downsample in self.extra:
            coarsest = downsample(coarsest)
            levels.append(coarsest)
        return levels


def _conv_norm(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    stride = 1 if kernel == 1 else 2
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.GroupNorm(GROUPS, out_channels),
    )
