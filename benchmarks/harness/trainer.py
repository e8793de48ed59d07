"""A training without files, to measure its steps, and batches for it."""

from pathlib import Path
from typing import NoReturn

import numpy as np

from benchmarks.harness.synthetic import made_categories, made_sample
from model.network.segmenter import Segmenter
from model.published.models import COCO_STUFF, COCO_THINGS
from model.training.batch import PackedBatch, collate
from model.training.curves import Curves
from model.training.distributed.processes import Processes
from model.training.ema import WeightAverage
from model.training.loop import TrainingRun
from model.training.optimizer import build_optimizers
from model.training.settings import TrainSettings
from model.training.state import RunState
from panoptic.index import PanopticIndex


def make_trainer(network: Segmenter, index: PanopticIndex, settings: TrainSettings) -> tuple[TrainingRun, RunState]:
    """Return what `model.training.loop.optimize` takes; nothing is validated or saved."""
    average = WeightAverage(network, settings.ema_decay) if settings.ema_decay else None
    run = TrainingRun(
        network=network,
        index=index,
        settings=settings,
        state_file=Path(),
        curves=Path(),
        processes=Processes(),
        validate=_never,
    )
    return run, RunState(network, build_optimizers(network, settings), average, Curves(Path()))


def made_batch(
    size: tuple[int, int], things: int, stuff: int, stuff_queries: str = "joint", count: int = 1
) -> PackedBatch:
    """Make images with COCO's classes; `stuff_queries` is that of `NetworkConfig`."""
    categories = made_categories(COCO_THINGS, COCO_STUFF)
    samples = [made_sample(np.random.default_rng(seed), size, things, stuff, categories) for seed in range(count)]
    return collate(samples, categories, stuff_queries)


def _never(_network: Segmenter) -> NoReturn:
    raise AssertionError("a benchmark validates nothing")
