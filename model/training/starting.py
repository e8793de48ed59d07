"""The network that a training starts with, in `stages.train` and when `model.verify` repeats its first steps."""

from pathlib import Path

import torch

from model.network.config import NetworkConfig
from model.network.families import build_network
from model.network.segmenter import Segmenter
from model.training.settings import TrainSettings
from model.weights.loading.averages import AVERAGE_MARK
from model.weights.loading.initial import load_initial_weights
from panoptic.format.categories import CategoryTable


def starting_network(
    config: NetworkConfig, settings: TrainSettings, categories: CategoryTable, initial: Path | None
) -> tuple[Segmenter, str]:
    """Build the network with the initial weights of a run; second, a description of what was loaded.

    Args:
        initial: the file that `train.initial_weights` refers to; None for random weights.
    """
    torch.manual_seed(settings.seed)
    network = build_network(config, len(categories.things), len(categories.stuff))
    average = settings.initial_weights.endswith(AVERAGE_MARK)
    return network, load_initial_weights(network, categories, initial, average) if initial else "random"
