"""Small networks of random weights in transformers' layout, which find segments everywhere."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import (
    AutoImageProcessor,
    DetrConfig,
    DetrForSegmentation,
    EomtConfig,
    EomtForUniversalSegmentation,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    MaskFormerConfig,
    MaskFormerForInstanceSegmentation,
    PreTrainedModel,
    ResNetConfig,
    SwinConfig,
)
from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil
from transformers.models.eomt.image_processing_pil_eomt import EomtImageProcessorPil
from transformers.models.mask2former.image_processing_pil_mask2former import Mask2FormerImageProcessorPil
from transformers.models.maskformer.image_processing_pil_maskformer import MaskFormerImageProcessorPil

NAMES = ("person", "cat", "sky-other-merged", "tree", "bus")
"""Classes of the networks, of which "tree" is COCO's tree-merged."""
QUERIES = 8
Names: TypeAlias = dict[int, str]
LENIENT = {"threshold": 0.0, "mask_threshold": 0.1, "overlap_mask_area_threshold": 0.3}
_STAGES = [f"stage{number}" for number in range(1, 5)]


def _swin() -> SwinConfig:
    config = SwinConfig(image_size=32, embed_dim=8, depths=[1] * 4, num_heads=[1, 1, 2, 2], window_size=2)
    config.out_features = _STAGES
    return config


def _detr(channels: int, names: Names) -> DetrConfig:
    backbone = ResNetConfig(embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, layer_type="basic")
    backbone.out_features = _STAGES
    return DetrConfig(
        backbone_config=backbone,
        d_model=channels,
        num_queries=QUERIES,
        encoder_layers=1,
        decoder_layers=1,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        id2label=names,
    )


def mask2former(names: Names) -> PreTrainedModel:
    config = Mask2FormerConfig(
        backbone_config=_swin(),
        num_queries=QUERIES,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        num_attention_heads=2,
        encoder_layers=1,
        decoder_layers=2,
        encoder_feedforward_dim=16,
        dim_feedforward=16,
        id2label=names,
    )
    return Mask2FormerForUniversalSegmentation(config)


def maskformer(names: Names) -> PreTrainedModel:
    decoder = _detr(32, names)
    config = MaskFormerConfig(
        fpn_feature_size=32, mask_feature_size=32, backbone_config=_swin(), decoder_config=decoder, id2label=names
    )
    return MaskFormerForInstanceSegmentation(config)


def eomt(names: Names) -> PreTrainedModel:
    config = EomtConfig(
        hidden_size=16,
        num_attention_heads=2,
        patch_size=8,
        image_size=64,
        num_hidden_layers=2,
        num_blocks=1,
        num_queries=QUERIES,
        id2label=names,
    )
    return EomtForUniversalSegmentation(config)


def detr(names: Names) -> PreTrainedModel:
    return DetrForSegmentation(_detr(128, names))


_SIZE = {"shortest_edge": 64, "longest_edge": 96}
MADE: Mapping[str, tuple[Callable[[Names], PreTrainedModel], Callable[[], Any]]] = {
    "mask2former": (mask2former, partial(Mask2FormerImageProcessorPil, size=_SIZE)),
    "maskformer": (maskformer, partial(MaskFormerImageProcessorPil, size=_SIZE)),
    "eomt": (eomt, partial(EomtImageProcessorPil, size={"shortest_edge": 64, "longest_edge": 64}, do_pad=True)),
    "detr": (detr, partial(DetrImageProcessorPil, size=_SIZE)),
}
"""The network and the image processor of each type."""
read_processor: Callable[..., Any] = AutoImageProcessor.from_pretrained
"""Reads the image processor of a folder by transformers' own means."""


def write_folder(folder: Path, model_type: str, names: Sequence[str] = NAMES, shard: str = "1GB") -> Path:
    """Write a network and its image processor by transformers' own `save_pretrained`, in files of a size."""
    make, processor = MADE[model_type]
    torch.manual_seed(1)
    network = make(dict(enumerate(names)))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
    network.save_pretrained(folder, max_shard_size=shard)
    processor().save_pretrained(folder)
    change_json(folder / "preprocessor_config.json", LENIENT)
    return folder


def change_json(path: Path, changes: Mapping[str, object]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | dict(changes)))


def image(seed: int = 0, height: int = 48, width: int = 72) -> NDArray[np.uint8]:
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)
