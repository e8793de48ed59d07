"""Observed images of small networks with random weights, which find segments everywhere."""

from dataclasses import replace

import numpy as np

from model.explanation.observing import ObservedImage, Observer
from model.inference.merging import MergingSettings
from model.inference.settings import InferenceSettings
from model.network.config import NetworkConfig
from panoptic.format.categories import CategoryTable
from tests.model.network.tiny_network import TINY, tiny_network

LENIENT = MergingSettings(score_threshold=0, mask_threshold=0, overlap_things=1, overlap_stuff=1)
SIZE = (64, 96)
TABLE = CategoryTable.from_json(
    [{"id": key, "name": f"class {key}", "isthing": int(key < 4), "color": [key, 0, 0]} for key in range(1, 6)]
)
NETWORKS = {
    "decoupled": TINY,
    "joint": replace(TINY, stuff="joint"),
    "version 1": replace(TINY, stuff="joint", classes_from="masks", thing_mask_layers=2, queries=6, selected_queries=9),
}


def observe(config: NetworkConfig = TINY, mask_layer: int = 0, count: int = 2) -> list[ObservedImage]:
    """Observe a batch of random images without ground truth."""
    rng = np.random.default_rng(0)
    images = [(f"{number}.png", rng.integers(0, 256, (*SIZE, 3), np.uint8)) for number in range(count)]
    settings = InferenceSettings(SIZE[0], SIZE[1], mask_layer=mask_layer, merging=LENIENT)
    return list(Observer(tiny_network(config), settings, TABLE).observe(images))
