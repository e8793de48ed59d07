"""A tiny model of random weights that finds segments everywhere, and photos for it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from model.inference.merging import MergingSettings
from model.inference.settings import InferenceSettings
from model.network.panoptic_segformer import PanopticSegFormer
from model.weights.checkpoint import Checkpoint, save_checkpoint
from panoptic.format.categories import CategoryTable
from tests.model.training.synthetic import NETWORK
from tests.tiny_dataset import CATEGORIES

SETTINGS = InferenceSettings(
    48, 96, merging=MergingSettings(score_threshold=0, mask_threshold=0, overlap_things=1, overlap_stuff=1)
)
PARAMS = """predict: {shorter: 48, longer: 96,
  merging: {score_threshold: 0, mask_threshold: 0, overlap_things: 1, overlap_stuff: 1}}"""
"""The same settings for the stage."""


def write_model(folder: Path, seed: int = 0) -> Path:
    """Write the weights to a folder."""
    categories = CategoryTable.from_json(CATEGORIES)
    torch.manual_seed(seed)
    network = PanopticSegFormer(NETWORK, len(categories.things), len(categories.stuff))
    path = folder / "model.safetensors"
    save_checkpoint(path, Checkpoint(NETWORK, categories, {}, network, inference=SETTINGS))
    return path


def photo(seed: int, height: int = 48, width: int = 64) -> Image.Image:
    """Draw random blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST)


def write_photos(folder: Path, names: Callable[[int], str] | None = None, count: int = 3) -> Path:
    """Write photos, two of one size, to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        height, width = (48, 64) if number % 3 != 1 else (64, 48)
        photo(number, height, width).save(folder / (names(number) if names else f"{number}.png"))
    return folder
