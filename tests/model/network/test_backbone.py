"""Maps of every backbone at every size of image, and what of it is trained."""

from math import ceil

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.network.backbone import Backbone
from model.network.backbones import BACKBONES
from model.network.config import NetworkConfig
from tests.model.network.narrow_backbones import NARROW, narrow_backbone, use_narrow_backbones

SIZES = [(1, 1), (20, 27), (33, 47), (64, 96)]


@pytest.fixture(autouse=True)
def narrow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use narrow sizes in all tests except those of the published sizes."""
    if "published" not in request.node.name:
        use_narrow_backbones(monkeypatch)


def random_images(height: int, width: int, batch: int = 2) -> Tensor:
    """Seeded normal numbers."""
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(height))


def on_meta(name: str, mask_head: str = "attention", drop_path: float = 0.0) -> Backbone:
    """A backbone without storage."""
    with torch.device("meta"):
        config = NetworkConfig(backbone=name, frozen_stages=0, stuff="joint", mask_head=mask_head, drop_path=drop_path)
        return Backbone(config)


@pytest.mark.parametrize(
    ("name", "mask_head"),
    [*((name, "attention") for name in BACKBONES), *((name, "fpn") for name in NARROW)],
)
def test_published_sizes(name: str, mask_head: str) -> None:
    backbone = on_meta(name, mask_head, drop_path=0.1)
    small = name == "tiny"
    finer = mask_head == "fpn" and not small
    assert backbone.finer == finer
    assert backbone.strides == ((4, 8, 16) if small else (4, 8, 16, 32)[not finer :])
    assert backbone.channels == BACKBONES[name].hidden[not (small or finer) :]
    for train in (True, False):
        features = backbone.train(train)(torch.empty(2, 3, 45, 70, device="meta"))
        assert [tuple(feature.shape) for feature in features] == [
            (2, channels, ceil(45 / stride), ceil(70 / stride))
            for channels, stride in zip(backbone.channels, backbone.strides, strict=True)
        ]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet50", 23_508_032),
        ("resnet101", 42_500_160),
        ("pvt_v2_b5", 81_443_008),
        ("swin_large", 194_997_780),
        ("efficientnet_lite0", 2_958_848),  # without the 1.69 M of head and classifier
    ],
)
def test_published_parameters(name: str, parameters: int) -> None:
    """They are those of the published checkpoints."""
    assert sum(parameter.numel() for parameter in on_meta(name).parameters()) == parameters


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NARROW)
@torch.no_grad()
def test_any_size_of_image(name: str, size: tuple[int, int]) -> None:
    """The maps have the right sizes, and an image's do not depend on its batch."""
    backbone = narrow_backbone(name)
    images = random_images(*size)
    features = backbone(images)
    assert [feature.shape[-2:] for feature in features] == [
        (ceil(size[0] / stride), ceil(size[1] / stride)) for stride in backbone.strides
    ]
    assert all(feature.isfinite().all() for feature in features)
    for alone, together in zip(backbone(images[1:]), features, strict=True):
        torch.testing.assert_close(alone, together[1:], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_small_images_of_pvt_are_padded() -> None:
    """Padded to 32 pixels at the right and bottom; otherwise its reducing convolutions fail."""
    backbone = narrow_backbone("pvt_v2_b0")
    images = random_images(20, 70)
    with pytest.raises(RuntimeError):
        backbone.body(images)
    padded = backbone.body(F.pad(images, (0, 0, 0, 12))).feature_maps
    for feature, whole, stride in zip(backbone(images), padded, backbone.strides, strict=True):
        assert torch.equal(feature, whole[:, :, : ceil(20 / stride)])


@pytest.mark.parametrize("name", ["resnet50", "swin_tiny", "pvt_v2_b2_linear", "efficientnet_lite0"])
@torch.no_grad()
def test_no_other_backbone_needs_padding(name: str) -> None:
    backbone = narrow_backbone(name)
    images = random_images(5, 9)
    for feature, plain in zip(backbone(images), backbone.body(images).feature_maps, strict=True):
        assert torch.equal(feature, plain)


@pytest.mark.parametrize(
    ("name", "stem", "stages"),
    [
        ("resnet50", "body.embedder.", "body.encoder.stages."),
        ("pvt_v2_b0", "body.encoder.layers.0.patch_embedding.", "body.encoder.layers."),
        ("swin_tiny", "body.swin.embeddings.", "body.swin.encoder.layers."),
        ("efficientnet_lite0", "body.embedder.", "body.encoder.stages."),
    ],
)
@pytest.mark.parametrize("frozen_stages", [0, 1, 2, 4])
def test_frozen_stages(name: str, stem: str, stages: str, frozen_stages: int) -> None:
    backbone = narrow_backbone(name, frozen_stages=frozen_stages).train()
    frozen = {key for key, parameter in backbone.named_parameters() if not parameter.requires_grad}
    prefixes = (stem, *(f"{stages}{stage}." for stage in range(frozen_stages))) if frozen_stages else ()
    expected = {key for key, _ in backbone.named_parameters() if key.startswith(prefixes) or ".normalization." in key}
    assert frozen == expected
    for key, module in backbone.named_modules():
        still = f"{key}.".startswith(prefixes) or isinstance(module, nn.BatchNorm2d)
        assert module.training != still, key


@pytest.mark.parametrize("mask_head", ["attention", "fpn"])
@pytest.mark.parametrize("name", NARROW)
def test_every_trained_parameter_has_a_gradient(name: str, mask_head: str) -> None:
    """Parallel training stops at a parameter that nothing uses."""
    backbone = narrow_backbone(name, mask_head=mask_head, stuff="joint", backbone_norm="frozen").train()
    sum(feature.square().sum() for feature in backbone(random_images(40, 50))).backward()
    unused = [key for key, weight in backbone.named_parameters() if weight.requires_grad and weight.grad is None]
    assert not unused


@pytest.mark.parametrize("name", ["pvt_v2_b0", "swin_tiny"])
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_norms_of_resnets_are_for_resnets(name: str, norm: str) -> None:
    with pytest.raises(
        ValueError, match=rf"model.backbone_norm is '{norm}', which is for ResNets and EfficientNets; {name} has"
    ):
        narrow_backbone(name, backbone_norm=norm)
