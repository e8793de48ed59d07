"""Seconds and memory of a recipe's training and predictions on this machine, with random weights and made images.

They are measured in a separate process, whose memory is its own and whose failure does not end this one.
"""

from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.harness.device import PeakMemory, device_bytes, timer_for
from benchmarks.harness.synthetic import made_categories, made_sample
from benchmarks.harness.trainer import make_trainer
from benchmarks.plan.dataset import MadeImages, PlannedDataset, Recipe
from model.complexity.measure import MeasurementError
from model.device import compute_name, pick_device
from model.inference.post_processing import ImageSizes, predict_panoptic
from model.inference.predictor import inference_forward
from model.network.families import build_network
from model.network.segmenter import Segmenter
from model.pixels import normalize
from model.training.batch import Batch, collate
from model.training.loop import TrainingRun, optimize
from model.training.state import RunState
from panoptic.data.decoding import decode_image
from panoptic.data.reader import Sample
from panoptic.data.transforms import augment, resize_for_inference
from panoptic.evaluation.image import ScoringSettings, SegmentedImage, evaluate_image
from panoptic.evaluation.scores import count_image
from panoptic.format.id_map import decode_id_map, encode_id_map
from panoptic.index import PanopticIndex
from panoptic.instances.detection_json import encode_mask
from panoptic.robustness.corruptions import corrupt_image
from panoptic.runtime.parallel import worker_pool

Median = Callable[[Callable[[], object]], float]
"""Returns the median seconds of some work."""


@dataclass(frozen=True)
class StepCosts:
    """Cost of training: seconds of a forward and backward pass in one process; padded sizes (height, width)."""

    typical_size: tuple[int, int]
    typical_seconds: float
    largest_size: tuple[int, int]
    largest_seconds: float
    mean_pixels: float
    optimizer_seconds: float
    bytes: int

    @property
    def mean_seconds(self) -> float:
        """Seconds of a pass of mean size, interpolated by pixels between the typical and the largest pass."""
        typical, largest = (height * width for height, width in (self.typical_size, self.largest_size))
        slope = (self.largest_seconds - self.typical_seconds) / (largest - typical) if largest > typical else 0.0
        return self.typical_seconds + max(slope, 0.0) * (self.mean_pixels - typical)


def measure_steps(
    recipe: Recipe, dataset: PlannedDataset, network: Segmenter, median: Median, memory: PeakMemory
) -> StepCosts:
    """Measure steps of one forward pass each, of typical and of largest size."""
    settings, categories = recipe.train, made_categories(dataset.num_things, dataset.num_stuff)
    training, state = make_trainer(network, PanopticIndex(categories, Path(), Path(), ()), settings)
    images = MadeImages(
        sizes=dataset.train.sizes,
        things=round(dataset.train.things),
        stuff=round(dataset.train.stuff),
        categories=categories,
        augmentation=settings.augmentation,
        images_per_forward=settings.images_per_forward,
        stuff_queries=recipe.model.stuff_queries,
    )
    typical, largest, mean_pixels = images.typical_and_largest()

    def step(batch: Batch) -> float:
        return median(lambda: optimize(training, state, [batch]))

    with_typical, with_largest = (step(images.batch(draw).to(memory.device)) for draw in (typical, largest))
    peak = memory.growth
    optimizer = median(lambda: _apply(training, state))
    return StepCosts(
        typical_size=images.shape(typical),
        typical_seconds=max(with_typical - optimizer, 0.0),
        largest_size=images.shape(largest),
        largest_seconds=max(with_largest - optimizer, 0.0),
        mean_pixels=mean_pixels,
        optimizer_seconds=optimizer,
        bytes=peak,
    )


def _apply(training: TrainingRun, state: RunState) -> None:
    """Do the part of a step that comes once, however many forward passes it has."""
    torch.nn.utils.clip_grad_norm_(training.network.parameters(), training.settings.clip_norm)
    for optimizer in state.optimizers:
        optimizer.step()
    if state.average:
        state.average.update(training.network, state.step)


@dataclass(frozen=True)
class Costs:
    """Measured costs; seconds are per image, except those of a step."""

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
    """Measure in another process.

    Raises:
        MeasurementError: it was killed, as happens when memory runs out.
    """
    with worker_pool(1) as pool:
        assert pool
        try:
            return pool.submit(measure, recipe, dataset, steps).result()
        except BrokenProcessPool:
            cause = "the process was killed, which the system does when memory runs out"
        except torch.OutOfMemoryError as error:
            cause = str(error).splitlines()[0]
    raise MeasurementError(
        f"a training step could not be measured: {cause}; plan on a machine with more memory, or leave the measurement "
        "out with --measure-steps 0"
    )


def measure(recipe: Recipe, dataset: PlannedDataset, steps: int) -> Costs:
    """Measure in this process; every time is the median of `steps` repetitions after a warm-up."""
    torch.manual_seed(0)
    device = pick_device()
    memory, timer = PeakMemory.start(device), timer_for(device)

    def median(work: Callable[[], object]) -> float:
        return timer.median(work, steps)

    network = build_network(recipe.model, dataset.num_things, dataset.num_stuff).to(device)
    size = sorted(dataset.val.sizes, key=prod)[len(dataset.val.sizes) // 2]
    predict_seconds, predict_bytes = _predict(recipe, network, size, median), memory.growth
    step = measure_steps(recipe, dataset, network, median, memory)
    categories = made_categories(dataset.num_things, dataset.num_stuff)
    things, stuff = round(dataset.val.things), round(dataset.val.stuff)
    sample, other = (made_sample(np.random.default_rng(seed), size, things, stuff, categories) for seed in (0, 1))
    files, rng = _EncodedSample.of(sample), np.random.default_rng(0)

    def read_to_train() -> None:
        files.read()
        collate([augment(sample, rng, recipe.train.augmentation)], categories, recipe.model.stuff_queries)

    def score() -> None:
        gt = SegmentedImage(decode_id_map(files.ids, ""), sample.record.segments)
        count_image(evaluate_image(gt, SegmentedImage(other.ids, other.record.segments), ScoringSettings()))

    return Costs(
        device=compute_name(device),
        device_bytes=device_bytes(device),
        step=step,
        read_to_train_seconds=median(read_to_train),
        read_seconds=median(lambda: decode_image(files.image, "")),
        predict_seconds=predict_seconds,
        predict_bytes=predict_bytes,
        write_map_seconds=median(lambda: encode_id_map(sample.ids)),
        write_instances_seconds=median(lambda: encode_mask(sample.ids == 1)) * recipe.model.selected_queries,
        score_seconds=median(score),
        corrupt_seconds=_corrupt(recipe, sample.image, median),
    )


@dataclass(frozen=True)
class _EncodedSample:
    """The JPEG of an image and the PNG of its id map."""

    image: bytes
    ids: bytes

    @classmethod
    def of(cls, sample: Sample) -> "_EncodedSample":
        return cls(cv2.imencode(".jpg", sample.image)[1].tobytes(), encode_id_map(sample.ids))

    def read(self) -> None:
        decode_image(self.image, "")
        decode_id_map(self.ids, "")


def _predict(recipe: Recipe, network: Segmenter, size: tuple[int, int], median: Median) -> float:
    """Return seconds per image of `size` for resizing, network and merging; random weights find little to merge."""
    settings, (height, width) = recipe.predict, size
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    forward = inference_forward(network, settings)

    def work() -> None:
        images = [resize_for_inference(image, settings.shorter, settings.longer)] * settings.batch_size
        tensor = normalize(torch.from_numpy(np.stack(images)).to(pick_device()))
        valid = images[0].shape[0], images[0].shape[1]
        predict_panoptic(forward(tensor), [ImageSizes(valid, valid, size)] * len(images), settings.merging)

    with torch.no_grad():
        return median(work) / settings.batch_size


def _corrupt(recipe: Recipe, image: NDArray[np.uint8], median: Median) -> float:
    """Return seconds per image, averaged over the corruptions, at their middle severity."""
    severities = sorted(recipe.corrupt.severities)
    severity = severities[len(severities) // 2]
    names = recipe.corrupt.corruptions
    seconds = [median(partial(corrupt_image, image, name, severity, 0)) for name in names]
    return sum(seconds) / len(seconds)
