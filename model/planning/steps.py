"""What a training step costs on this machine: the loop's own step, with random weights, on made pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch

from model.network.panoptic_segformer import PanopticSegFormer
from model.planning.clock import Clock
from model.planning.dataset import PlannedDataset
from model.planning.pictures import MadePictures, made_categories
from model.planning.recipe import Recipe
from model.training.batch import Batch
from model.training.curves import Curves
from model.training.ema import WeightAverage
from model.training.loop import Run, optimise
from model.training.optimiser import build_optimisers
from model.training.processes import Processes
from model.training.state import RunState
from panoptic.index import PanopticIndex


@dataclass(frozen=True)
class StepCosts:
    """Of training; seconds of one forward and backward pass of one process, sizes as padded (height, width)."""

    typical_size: tuple[int, int]
    typical_seconds: float
    largest_size: tuple[int, int]
    largest_seconds: float
    mean_pixels: float
    optimiser_seconds: float
    bytes: int

    @property
    def mean_seconds(self) -> float:
        """Of a pass of mean size: what a pixel costs is the slope from the typical to the largest pass."""
        typical, largest = (height * width for height, width in (self.typical_size, self.largest_size))
        slope = (self.largest_seconds - self.typical_seconds) / (largest - typical) if largest > typical else 0.0
        return self.typical_seconds + max(slope, 0.0) * (self.mean_pixels - typical)


def measure_steps(recipe: Recipe, dataset: PlannedDataset, network: PanopticSegFormer, clock: Clock) -> StepCosts:
    """Run steps of one forward pass each, of typical and of largest size."""
    settings, categories = recipe.train, made_categories(dataset.num_things, dataset.num_stuff)
    training = Run(
        network=network,
        index=PanopticIndex(categories, Path(), Path(), ()),
        settings=settings,
        state_file=Path(),
        curves=Path(),
        processes=Processes(),
        validate=_never,
    )
    average = WeightAverage(network, settings.ema_decay) if settings.ema_decay else None
    state = RunState(network, build_optimisers(network, settings), average, Curves(Path()))
    pictures = MadePictures(
        sizes=dataset.train.sizes,
        things=round(dataset.train.things),
        stuff=round(dataset.train.stuff),
        categories=categories,
        augmentation=settings.augmentation,
        images_per_forward=settings.images_per_forward,
        joint_stuff=recipe.model.stuff,
    )
    typical, largest, mean_pixels = pictures.typical_and_largest()

    def step(batch: Batch) -> float:
        return clock.median(lambda: optimise(training, state, [batch]))

    with_typical, with_largest = (step(pictures.batch(draw).to(clock.device)) for draw in (typical, largest))
    peak = clock.peak_bytes
    optimiser = clock.median(lambda: _apply(training, state))
    return StepCosts(
        typical_size=pictures.shape(typical),
        typical_seconds=max(with_typical - optimiser, 0.0),
        largest_size=pictures.shape(largest),
        largest_seconds=max(with_largest - optimiser, 0.0),
        mean_pixels=mean_pixels,
        optimiser_seconds=optimiser,
        bytes=peak,
    )


def _apply(training: Run, state: RunState) -> None:
    """The part of a step that comes once, however many forward passes it has."""
    torch.nn.utils.clip_grad_norm_(training.network.parameters(), training.settings.clip_norm)
    for optimiser in state.optimisers:
        optimiser.step()
    if state.average:
        state.average.update(training.network, state.step)


def _never(_network: PanopticSegFormer) -> NoReturn:
    raise AssertionError("a plan validates nothing")
