"""A network that `make run` trained on mini, for benchmarks on drawn images of other sizes."""

from dataclasses import replace
from pathlib import Path

from model.device import pick_device
from model.inference.predictor import Predictor
from model.inference.settings import InferenceSettings
from model.weights.checkpoint import load_checkpoint
from panoptic.tools.mini.categories import CATEGORIES

MINI_SIDE = 128
"""Shorter side of mini's images in pixels."""


def load_mini(weights: Path, longer: int, score_threshold: float | None = None) -> Predictor:
    """Load weights for images of mini's scale, whose longer side is `longer` at most.

    Raises:
        ValueError: they know other categories than mini's.
    """
    checkpoint = load_checkpoint(weights)
    CATEGORIES.require_same(checkpoint.categories, str(weights), "mini", "give weights of `make run`")
    settings = checkpoint.inference or InferenceSettings()
    merging = (
        settings.merging if score_threshold is None else replace(settings.merging, score_threshold=score_threshold)
    )
    sized = replace(settings, shorter=MINI_SIDE, longer=longer, merging=merging)
    return Predictor(checkpoint.network.to(pick_device()), sized)
