"""Seconds and memory of a recipe's training and predictions on this machine, with random weights and made images.

All of it in a process of its own, whose memory is nobody else's and whose end is not ours.
"""

from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.harness.timer import Clock
from benchmarks.plan.dataset import MadeImages, PlannedDataset, Recipe, made_categories, made_sample
from model.complexity.measure import MeasurementError
from model.device import pick_device
from model.inference.merging import ImageSizes, predict_panoptic
from model.inference.predict import inference_forward
from model.network.panoptic_segformer import PanopticSegFormer
from model.pixels import normalize
from model.training.batch import Batch, collate
from model.training.curves import Curves
from model.training.distributed.processes import Processes
from model.training.ema import WeightAverage
from model.training.loop import Run, optimize
from model.training.optimizer import build_optimizers
from model.training.state import RunState
from panoptic.data.reader import Sample, decode_image
from panoptic.data.transforms import augment, resize_for_inference
from panoptic.evaluation.scores import ScoringSettings, score_image
from panoptic.format.id_map import decode_id_map, encode_id_map
from panoptic.index import PanopticIndex
from panoptic.instances.detection_json import encode_mask
from panoptic.robustness.corruptions import corrupt_image
from panoptic.runtime.parallel import worker_pool


@dataclass(frozen=True)
class StepCosts:
    """Of training; seconds of one forward and backward pass of one process, sizes as padded (height, width)."""

    typical_size: tuple[int, int]
    typical_seconds: float
    largest_size: tuple[int, int]
    largest_seconds: float
    mean_pixels: float
    optimizer_seconds: float
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
    state = RunState(network, build_optimizers(network, settings), average, Curves(Path()))
    images = MadeImages(
        sizes=dataset.train.sizes,
        things=round(dataset.train.things),
        stuff=round(dataset.train.stuff),
        categories=categories,
        augmentation=settings.augmentation,
        images_per_forward=settings.images_per_forward,
        joint_stuff=recipe.model.stuff,
    )
    typical, largest, mean_pixels = images.typical_and_largest()

    def step(batch: Batch) -> float:
        return clock.median(lambda: optimize(training, state, [batch]))

    with_typical, with_largest = (step(images.batch(draw).to(clock.device)) for draw in (typical, largest))
    peak = clock.peak_bytes
    optimizer = clock.median(lambda: _apply(training, state))
    return StepCosts(
        typical_size=images.shape(typical),
        typical_seconds=max(with_typical - optimizer, 0.0),
        largest_size=images.shape(largest),
        largest_seconds=max(with_largest - optimizer, 0.0),
        mean_pixels=mean_pixels,
        optimizer_seconds=optimizer,
        bytes=peak,
    )


def _apply(training: Run, state: RunState) -> None:
    """The part of a step that comes once, however many forward passes it has."""
    torch.nn.utils.clip_grad_norm_(training.network.parameters(), training.settings.clip_norm)
    for optimizer in state.optimizers:
        optimizer.step()
    if state.average:
        state.average.update(training.network, state.step)


def _never(_network: PanopticSegFormer) -> NoReturn:
    raise AssertionError("a plan validates nothing")


@dataclass(frozen=True)
class Costs:
    """What was measured; seconds are those of one image, except a step's."""

    device: str
    device_bytes: int
    step: StepCosts
    read_to_train_seconds: float
    read_seconds: float
    predict_seconds: float
    predict_bytes: int
    write_map_seconds: float
    write_instances_seconds: float
    score_seconds: float
    corrupt_seconds: float  # mean over the corruptions, at their middle severity


def measure_apart(recipe: Recipe, dataset: PlannedDataset, steps: int) -> Costs:
    """Measure in another process. Raises `MeasurementError` if it is killed, as it is where memory runs out."""
    with worker_pool(1) as pool:
        assert pool
        try:
            return pool.submit(measure, recipe, dataset, steps).result()
        except BrokenProcessPool:
            cause = "the process was killed, which the system does where memory runs out"
        except torch.OutOfMemoryError as error:
            cause = str(error).splitlines()[0]
    raise MeasurementError(
        f"a training step could not be measured: {cause}; plan on a machine with more memory, or leave the measurement "
        "out with --measure-steps 0"
    )


def measure(recipe: Recipe, dataset: PlannedDataset, steps: int) -> Costs:
    """Measure in this process, every time as the median of `steps` after a first that does not count."""
    torch.manual_seed(0)
    clock = Clock.start(pick_device(), steps)
    network = PanopticSegFormer(recipe.model, dataset.num_things, dataset.num_stuff).to(clock.device)
    size = sorted(dataset.val.sizes, key=prod)[len(dataset.val.sizes) // 2]
    predict_seconds, predict_bytes = _predict(recipe, network, size, clock), clock.peak_bytes
    step = measure_steps(recipe, dataset, network, clock)
    categories = made_categories(dataset.num_things, dataset.num_stuff)
    things, stuff = round(dataset.val.things), round(dataset.val.stuff)
    sample, other = (made_sample(np.random.default_rng(seed), size, things, stuff, categories) for seed in (0, 1))
    files, rng = _Files.of(sample), np.random.default_rng(0)

    def read_to_train() -> None:
        files.read()
        collate([augment(sample, rng, recipe.train.augmentation)], categories, recipe.model.stuff)

    def score() -> None:
        segments, others = sample.record.segments, other.record.segments
        score_image(decode_id_map(files.ids, ""), segments, other.ids, others, ScoringSettings())

    return Costs(
        device=clock.device_name,
        device_bytes=clock.device_bytes,
        step=step,
        read_to_train_seconds=clock.median(read_to_train),
        read_seconds=clock.median(lambda: decode_image(files.image, "")),
        predict_seconds=predict_seconds,
        predict_bytes=predict_bytes,
        write_map_seconds=clock.median(lambda: encode_id_map(sample.ids)),
        write_instances_seconds=clock.median(lambda: encode_mask(sample.ids == 1)) * recipe.model.selected_queries,
        score_seconds=clock.median(score),
        corrupt_seconds=_corrupt(recipe, sample.image, clock),
    )


@dataclass(frozen=True)
class _Files:
    """A JPEG of an image, and the PNG of its id map."""

    image: bytes
    ids: bytes

    @classmethod
    def of(cls, sample: Sample) -> "_Files":
        return cls(cv2.imencode(".jpg", sample.image)[1].tobytes(), encode_id_map(sample.ids))

    def read(self) -> None:
        decode_image(self.image, "")
        decode_id_map(self.ids, "")


def _predict(recipe: Recipe, network: PanopticSegFormer, size: tuple[int, int], clock: Clock) -> float:
    """Seconds of an image of `size`: resizing, network and merging. Random weights find little to merge."""
    settings, (height, width) = recipe.predict, size
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    forward = inference_forward(network, settings)

    def work() -> None:
        images = [resize_for_inference(image, settings.shorter, settings.longer)] * settings.batch_size
        tensor = normalize(torch.from_numpy(np.stack(images)).to(clock.device))
        valid = images[0].shape[0], images[0].shape[1]
        predict_panoptic(forward(tensor), [ImageSizes(valid, valid, size)] * len(images), settings.merging)

    with torch.no_grad():
        return clock.median(work) / settings.batch_size


def _corrupt(recipe: Recipe, image: NDArray[np.uint8], clock: Clock) -> float:
    """Seconds of an image, on average over the corruptions, at their middle severity."""
    severities = sorted(recipe.corrupt.severities)
    severity = severities[len(severities) // 2]
    names = recipe.corrupt.corruptions
    seconds = [clock.median(partial(corrupt_image, image, name, severity, 0)) for name in names]
    return sum(seconds) / len(seconds)
