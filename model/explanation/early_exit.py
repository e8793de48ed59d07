"""PQ and time of a network that stops after a layer of its mask decoders (table 10 of the CVPR paper, as a curve).

Every batch of images is predicted with each number of layers in turn, and which comes first changes from batch to
batch, so that whatever else the machine does meets all of them alike. A time is that of a prediction from the resized
images to the panoptic maps, by `time.perf_counter`.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from model.device import compute_name
from model.explanation.quality import PqEstimator, count_prediction
from model.inference.predict import same_size_batches
from model.inference.predictor import NetworkInput, Predictor
from model.inference.settings import InferenceSettings
from model.network.segmenter import Segmenter
from panoptic.data.reader import PanopticReader, Sample
from panoptic.evaluation.bootstrap import limits
from panoptic.evaluation.scores import Array, ImageCounts
from panoptic.format.categories import CategoryTable
from panoptic.index import PanopticIndex
from panoptic.report.explained import Estimate
from panoptic.report.variants import EarlyExit, LayerExit

ALL_LAYERS = 0
"""What `InferenceSettings.mask_layer` calls the final masks."""


@dataclass
class _Reading:
    """Predictions that read the masks of one layer: counts by image, and milliseconds of an image by batch."""

    predictor: Predictor
    counts: list[ImageCounts] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)

    def predict(self, inputs: Sequence[NetworkInput], samples: Sequence[Sample], categories: CategoryTable) -> None:
        """Predict and count a batch. A prediction ends on the host, so that there is nothing left to wait for."""
        started = time.perf_counter()
        predictions = self.predictor.predict(inputs)
        self.milliseconds.append(1000 * (time.perf_counter() - started) / len(inputs))
        for sample, prediction in zip(samples, predictions, strict=True):
            self.counts.append(count_prediction(sample, prediction, categories))


def measure_early_exit(
    network: Segmenter, settings: InferenceSettings, index: PanopticIndex, resamples: int
) -> EarlyExit:
    """Predict the images of an index, all of which have ground truth, after each mask decoder layer and after all."""
    layers = (*range(1, network.config.mask_layers + 1), ALL_LAYERS)
    readings = [_Reading(Predictor(network, replace(settings, mask_layer=layer, compile=False))) for layer in layers]
    reader, warm = PanopticReader(index), set[tuple[int, ...]]()
    for number, batch in enumerate(same_size_batches(index.records, settings)):
        samples = [reader.sample(index.records[position]) for position in batch]
        inputs = [readings[0].predictor.prepare(one.image, one.record.file_name) for one in samples]
        shape = (len(inputs), *inputs[0].size)
        for reading in readings if shape not in warm else ():
            reading.predictor.predict(inputs)  # a first batch of a size reserves memory and chooses algorithms
        warm.add(shape)
        for reading in (*readings[number % len(readings) :], *readings[: number % len(readings)]):
            reading.predict(inputs, samples, index.categories)
    estimator, last = PqEstimator(index.categories, resamples), readings[-1]
    return EarlyExit(
        images=len(index.records),
        batch_size=settings.batch_size,
        device=compute_name(next(network.parameters()).device),
        layers=tuple(
            LayerExit(
                name="all" if layer == ALL_LAYERS else str(layer),
                pq=estimator.pq(reading.counts),
                loss=estimator.difference(reading.counts, last.counts),
                milliseconds=median_of(reading.milliseconds, resamples),
                time=median_of(np.divide(reading.milliseconds, last.milliseconds).tolist(), resamples),
            )
            for layer, reading in zip(layers, readings, strict=True)
        ),
    )


def median_of(values: Sequence[float], resamples: int) -> Estimate:
    """Estimate the median of measurements, with an interval of the bootstrap over them."""
    measured: Array = np.array(values, np.float64)
    value = float(np.median(measured))
    chosen = np.random.default_rng(0).integers(len(measured), size=(resamples, len(measured)))
    return Estimate.of(value, limits(np.median(measured[chosen], axis=1)))


def describe_early_exit(found: EarlyExit) -> Iterator[str]:
    """Yield a line for each layer."""
    for layer in found.layers:
        line = f"PQ {100 * layer.pq['all']:.1f}, mask layers {layer.name}"
        yield f"{line}: {layer.milliseconds.value:.1f} ms an image, {layer.time.value:.0%} of all"
