"""Bodies beside those of `transformers`: our ResNet is its ResNet; how its PVTv2 and Swin are changed."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ResNetBackbone, ResNetConfig
from transformers.models.swin.modeling_swin import SwinDropPath, SwinLayer

from model.network.backbone import Backbone
from model.network.backbones.drop_path import DropBranch
from model.network.backbones.resnet import ResNetSize
from tests.model.network.narrow_backbones import NARROW, narrow_backbone, use_narrow_backbones

WINDOW, SHIFT = 7, 3


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use narrow sizes."""
    use_narrow_backbones(monkeypatch)


def random_images(height: int, width: int) -> Tensor:
    """Seeded normal numbers."""
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(width))


@pytest.mark.parametrize("name", ["resnet101", "tiny"])
def test_resnets_are_those_of_transformers(name: str) -> None:
    """The same names, initial weights for the same seed, maps and gradients."""
    size = NARROW[name]
    assert isinstance(size, ResNetSize)
    config = ResNetConfig(
        embedding_size=size.embedding,
        hidden_sizes=list(size.hidden),
        depths=list(size.depths),
        layer_type="bottleneck" if size.bottleneck else "basic",
    )
    config.set_output_features_output_indices([f"stage{stage}" for stage in size.stages], None)
    torch.manual_seed(4)
    theirs = ResNetBackbone(config)
    torch.manual_seed(4)
    ours = size.build(size.stages, drop_path=0.0, group_norm=False)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, weight in ours.state_dict().items():
        assert torch.equal(weight, theirs.state_dict()[key]), key
    for body in (ours, theirs):
        sum(feature.square().mean() for feature in body(random_images(45, 70)).feature_maps).backward()
    for parameter, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert parameter.grad is not None
        assert expected.grad is not None
        assert torch.equal(parameter.grad, expected.grad)


def test_layer_norm_eps_as_published() -> None:
    for name in ("pvt_v2_b0", "pvt_v2_b2_linear"):
        for key, module in narrow_backbone(name).named_modules():
            if isinstance(module, nn.LayerNorm):
                inner = key.endswith(("patch_embedding.layer_norm", "attention.layer_norm"))
                assert module.eps == (1e-5 if inner else 1e-6), key
    swin = [module for module in narrow_backbone("swin_tiny").modules() if isinstance(module, nn.LayerNorm)]
    assert {module.eps for module in swin} == {1e-5}


@pytest.mark.parametrize("size", [(1, 1), (9, 20), (30, 70)])
@torch.no_grad()
def test_swin_windows_stay_whole(size: tuple[int, int]) -> None:
    """Every block equals dense attention between the pixels of one window, however small the image."""
    backbone = narrow_backbone("swin_tiny")
    seen: list[int] = []

    def compare(block: SwinLayer, inputs: tuple[Tensor, tuple[int, int]], outputs: tuple[Tensor, Tensor]) -> None:
        shift = SHIFT if len(seen) % 2 else 0
        torch.testing.assert_close(outputs[0], dense_block(block, *inputs, shift), atol=1e-5, rtol=1e-4)
        seen.append(shift)

    for block in swin_blocks(backbone):
        block.register_forward_hook(compare)
    backbone(random_images(*size))
    assert seen == [0, SHIFT] * 4


def dense_block(block: SwinLayer, tokens: Tensor, size: tuple[int, int], shift: int) -> Tensor:
    """Swin's block without windows, rolls and partitions: attention on the padded map, masked to equal windows."""
    height, width = size
    normed = block.layernorm_before(tokens).view(len(tokens), height, width, -1)
    padded = F.pad(normed, (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
    rows, columns = (line.flatten() for line in torch.meshgrid(*map(torch.arange, padded.shape[1:3]), indexing="ij"))
    windows = torch.stack(((rows - shift).div(WINDOW, rounding_mode="floor"), (columns - shift) // WINDOW))
    together = (windows[:, :, None] == windows[:, None]).all(0)
    down = (rows[:, None] - rows).clamp(1 - WINDOW, WINDOW - 1) + WINDOW - 1
    right = (columns[:, None] - columns).clamp(1 - WINDOW, WINDOW - 1) + WINDOW - 1
    attention = block.attention
    bias = attention.relative_position_bias.relative_position_bias_table[down * (2 * WINDOW - 1) + right]
    query, key, value = (
        project(padded.flatten(1, 2)).unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    scores = query @ key.transpose(2, 3) * query.shape[-1] ** -0.5 + bias.permute(2, 0, 1)
    weights = scores.masked_fill(~together, -torch.inf).softmax(-1)
    attended = attention.o_proj((weights @ value).transpose(1, 2).flatten(2))
    attended = attended.view(padded.shape)[:, :height, :width].flatten(1, 2)
    tokens = tokens + attended
    branch: Tensor = block.mlp.fc2(F.gelu(block.mlp.fc1(block.layernorm_after(tokens))))
    return tokens + branch


def swin_blocks(backbone: Backbone) -> list[SwinLayer]:
    """The blocks in order."""
    return [module for module in backbone.modules() if isinstance(module, SwinLayer)]


@pytest.mark.parametrize("name", ["pvt_v2_b0", "swin_tiny"])
@torch.no_grad()
def test_drop_path_leaves_out_both_branches(name: str) -> None:
    """At a probability of almost 1 the last block does nothing; in evaluation mode, or frozen, all of it counts."""
    images = random_images(40, 33)
    plain = narrow_backbone(name)(images)
    backbone = narrow_backbone(name, drop_path=1 - 1e-6)
    changes: list[float] = []
    last = (
        swin_blocks(backbone)[-1] if name == "swin_tiny" else backbone.get_submodule("body.encoder.layers.3.blocks.1")
    )
    last.register_forward_hook(lambda _, inputs, outputs: changes.append((outputs[0] - inputs[0]).abs().max().item()))
    for feature, same in zip(backbone(images), plain, strict=True):
        torch.testing.assert_close(feature, same)
    backbone.train()(images)
    assert changes[0] > 1e-3
    assert changes[1] == 0.0
    frozen = narrow_backbone(name, drop_path=0.5, frozen_stages=4).train()
    for feature, same in zip(frozen(images), plain, strict=True):
        torch.testing.assert_close(feature, same)


@torch.no_grad()
def test_drop_path_grows_with_depth_in_swin() -> None:
    """Both branches of a block have the same probability, and the first block none."""
    blocks = swin_blocks(narrow_backbone("swin_tiny", drop_path=0.7))
    attention = [part.drop_prob for block in blocks for part in block.children() if isinstance(part, SwinDropPath)]
    hooks = [hook for block in blocks for hook in block.mlp._forward_hooks.values()]
    mlp = [hook.probability for hook in hooks if isinstance(hook, DropBranch)]
    assert attention == mlp
    assert attention == pytest.approx([number / 10 for number in range(1, 8)])


def test_branches_are_dropped_by_image_and_scaled() -> None:
    torch.manual_seed(0)
    mlp = nn.Linear(2, 2)
    mlp.register_forward_hook(DropBranch(0.25))
    tokens = torch.ones(400, 3, 2)
    whole = deepcopy(mlp).eval()(tokens)
    ratio = mlp(tokens) / whole
    assert torch.equal(ratio, ratio[:, :1, :1].expand_as(ratio))
    kept = ratio[:, 0, 0] != 0
    torch.testing.assert_close(ratio[kept], torch.full_like(ratio[kept], 4 / 3))
    assert 270 < kept.sum() < 330
