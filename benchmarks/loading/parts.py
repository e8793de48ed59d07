"""Loading images part by part, and by the training loader."""

from collections.abc import Mapping, Sequence
from functools import partial
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.harness.interleave import interleave
from benchmarks.harness.timer import Timer
from benchmarks.loading.report import (
    ARRIVED,
    AUGMENT,
    BY_PILLOW,
    COLLATE,
    DECODE_IMAGE,
    DECODE_MAP,
    READ_IMAGE,
    READ_MAP,
    LoadingRounds,
)
from model.training.batch import PackedBatch, collate
from model.training.sampling import MicroBatch, TrainingImages, training_loader
from panoptic.data.decoding import decode_image
from panoptic.data.reader import Sample
from panoptic.data.transforms import augment
from panoptic.format.id_map import decode_id_map, rgb_to_ids

Parts = dict[str, list[float]]
Rates = dict[int, list[float]]


def measure_loading(images: TrainingImages, rounds: LoadingRounds) -> tuple[Parts, Rates]:
    """Load the same random images in every round, part by part and by the loader.

    Returns:
        Seconds per image of every part, and images per second by number of workers, for all rounds.
    """
    chosen = np.random.default_rng(0).integers(0, len(images.index.records), rounds.images).tolist()
    micro_batches = [MicroBatch(step, ((0, position),)) for step, position in enumerate(chosen)]

    def by_parts() -> Mapping[str, float]:
        timer = Timer()
        for micro_batch in micro_batches:
            load_by_parts(images, micro_batch, timer)
        return timer.laps

    laps = interleave({"parts": by_parts}, rounds.rounds, "parts")["parts"]
    loaders = {workers: partial(_rate, images, micro_batches, workers) for workers in rounds.workers}
    rates = interleave(loaders, rounds.rounds, "loader")
    return {name: [lap[name] / len(micro_batches) for lap in laps] for name in laps[0]}, rates


def load_by_parts(images: TrainingImages, micro_batch: MicroBatch, timer: Timer) -> PackedBatch:
    """Do what `images[micro_batch]` does for a single image, and time every part."""
    index = images.index
    image_files, mask_files = index.image_files(), index.mask_files()
    ((index_in_step, position),) = micro_batch.images
    record = index.records[position]
    rng = np.random.default_rng([images.seed, micro_batch.step, index_in_step])
    jpeg = timer.lap(READ_IMAGE, image_files.read, record.file_name)
    image = timer.lap(DECODE_IMAGE, decode_image, jpeg, record.file_name)
    png = timer.lap(READ_MAP, mask_files.read, record.mask_name)
    ids = timer.lap(DECODE_MAP, decode_id_map, png, record.mask_name)
    for name, data, decode in zip(BY_PILLOW, (jpeg, png), (_pillow_image, _pillow_ids), strict=True):
        timer.lap(name, decode, data)
    sample = timer.lap(AUGMENT, augment, Sample(image, ids, record), rng, images.augmentation)
    packed = timer.lap(COLLATE, collate, [sample], index.categories, images.stuff)
    timer.lap(ARRIVED, packed.to, torch.device("cpu"))
    return packed


def _pillow_image(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


def _pillow_ids(data: bytes) -> NDArray[np.int32]:
    return rgb_to_ids(_pillow_image(data))


def _rate(images: TrainingImages, micro_batches: Sequence[MicroBatch], workers: int) -> float:
    """Return the images per second of the training loader from the first image of every worker on."""
    batches = iter(training_loader(images, micro_batches, workers))
    for _ in range(first := max(1, workers)):
        next(batches)
    timer = Timer()
    count = timer.lap("loader", lambda: sum(1 for _ in batches))
    assert count == len(micro_batches) - first
    return count / timer.laps["loader"]
