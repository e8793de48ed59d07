"""A tiny model of random weights that finds segments everywhere, and photos for it."""

from collections.abc import Callable
from io import BytesIO
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

LENIENT = MergingSettings(score_threshold=0, mask_threshold=0, overlap_things=1, overlap_stuff=1)
SETTINGS = InferenceSettings(48, 96, merging=LENIENT)
PARAMS = """predict: {shorter: 48, longer: 96,
  merging: {score_threshold: 0, mask_threshold: 0, overlap_things: 1, overlap_stuff: 1}}"""
"""The same settings for the stage."""
TABLE = CategoryTable.from_json(CATEGORIES)


def write_model(
    path: Path, seed: int = 0, categories: CategoryTable = TABLE, provenance: dict[str, str] | None = None
) -> Path:
    """Write weights of the model, and return their path."""
    torch.manual_seed(seed)
    network = PanopticSegFormer(NETWORK, len(categories.things), len(categories.stuff))
    save_checkpoint(path, Checkpoint(NETWORK, categories, provenance or {}, network, inference=SETTINGS))
    return path


def photo(seed: int, height: int = 48, width: int = 64) -> Image.Image:
    """Draw random blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST)


def photo_file(seed: int, height: int = 48, width: int = 64, form: str = "PNG", orientation: int = 1) -> bytes:
    """Encode a photo with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = BytesIO()
    photo(seed, height, width).save(buffer, form, exif=exif)
    return buffer.getvalue()


def write_photos(folder: Path, names: Callable[[int], str] = "{}.png".format, count: int = 3) -> Path:
    """Write photos, two of one size, to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        height, width = (48, 64) if number % 3 != 1 else (64, 48)
        photo(number, height, width).save(folder / names(number))
    return folder
