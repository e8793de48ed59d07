"""Converts the published checkpoints of Panoptic SegFormer (version 2) to our layout and back, bit for bit.

    python -m model.weights.official --fetch r50_2x --out r50.safetensors
    python -m model.weights.official panoptic_segformer_r50_2x.pth --model r50 --out r50.safetensors
    python -m model.weights.official r50.safetensors --to-official --out back.pth

Every entry of a checkpoint has a counterpart, is dropped by name, or is refused by name. Dropped entries, which nothing
uses, are kept in a sidecar beside our weights, so that converting back gives the whole checkpoint.
"""

from model.weights.loading.layout import OfficialLayoutError
from model.weights.official.names import UNUSED, from_official, official_key, to_official

__all__ = ["UNUSED", "OfficialLayoutError", "from_official", "official_key", "to_official"]
