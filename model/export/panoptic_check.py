"""Check an ONNX file that merges: its maps against those of the network with this project's merging."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from model.export.checking import BOUND, EQUAL_PIXELS
from model.export.inference_network import InferenceNetwork, as_network_output
from model.export.onnx_inference import MergingFile, NetworkFile, normalized
from model.export.sizes import ExportError
from model.inference.merging import MergingSettings
from model.inference.post_processing import ImageSizes, PanopticPrediction, predict_panoptic
from model.inference.predictor import NetworkInput
from panoptic.evaluation.image import WITHOUT_BOUNDARY, SegmentedImage, evaluate_image
from panoptic.evaluation.scores import ScoreCounter, count_image
from panoptic.format.categories import CategoryTable

Predict = Callable[[NetworkInput], PanopticPrediction]
"""Predicts an image at its original size."""


def by_network(network: InferenceNetwork, settings: MergingSettings) -> Predict:
    """Predict by the network, and merge as this project does."""
    names = [output.name for output in network.outputs]

    @torch.no_grad()
    def predict(image: NetworkInput) -> PanopticPrediction:
        tensors = dict(zip(names, network(normalized([image])), strict=True))
        sizes = [ImageSizes(image.size, image.size, image.original)]
        (prediction,) = predict_panoptic(as_network_output(network.network.num_things, tensors), sizes, settings)
        return prediction

    return predict


def by_file(file: NetworkFile | MergingFile) -> Predict:
    """Predict by an ONNX file."""
    return lambda image: file.predict([image])[0]


@dataclass(frozen=True)
class Agreement:
    """Differences between the map of a file and the network's, for one image."""

    image: NetworkInput
    equal_pixels: float  # fraction of the map; ids may differ, as rounding may reorder segments of equal scores
    segments: tuple[int, int]  # numbers of the network's, and of the file's
    score_difference: float  # largest of segments that are the same, relative to the larger one or to 1

    @classmethod
    def of(cls, image: NetworkInput, ours: PanopticPrediction, theirs: PanopticPrediction) -> "Agreement":
        """Match the segments of one class that share most pixels, and compare them."""
        numbers = len(ours.segments), len(theirs.segments)
        both = np.bincount((ours.ids * np.int64(numbers[1] + 1) + theirs.ids).ravel(), minlength=_product(numbers))
        shared = both.reshape(numbers[0] + 1, numbers[1] + 1)
        labels = [np.array([one.label for one in each.segments], np.int64) for each in (ours, theirs)]
        same = np.where(labels[0][:, None] == labels[1], shared[1:, 1:], 0)
        rows, columns = linear_sum_assignment(same, maximize=True)
        pairs = [(i, j) for i, j in zip(rows.tolist(), columns.tolist(), strict=True) if same[i, j]]
        scores = [(ours.segments[i].score, theirs.segments[j].score) for i, j in pairs]
        difference = max((abs(a - b) / max(a, b, 1.0) for a, b in scores), default=0.0)
        equal = int(shared[0, 0] + sum(same[pair] for pair in pairs))
        return cls(image, equal / ours.ids.size, numbers, difference)

    def line(self) -> str:
        """Summarize the comparison in one line."""
        height, width = self.image.original
        ours, theirs = self.segments
        return (
            f"{self.image.name} ({height} x {width}): {100 * self.equal_pixels:.3f} % equal pixels, "
            f"{theirs} of {ours} segments, scores {self.score_difference:.1e}"
        )

    def require(self, file: str) -> None:
        """Check the differences against their bounds.

        Raises:
            ExportError: one is exceeded.
        """
        if self.equal_pixels < EQUAL_PIXELS or not self.score_difference <= BOUND:
            raise ExportError(
                f"{file} differs from the network by more than {BOUND} or {100 * EQUAL_PIXELS} % of the pixels: "
                f"{self.line()}; it was not written, please report this"
            )


def _product(numbers: tuple[int, int]) -> int:
    return (numbers[0] + 1) * (numbers[1] + 1)


def segmented(prediction: PanopticPrediction, categories: CategoryTable) -> SegmentedImage:
    """Return a prediction as the evaluation takes it."""
    return SegmentedImage(prediction.ids, prediction.result_segments(categories))


class Quality:
    """PQ of several predictors on the same images, which adds up."""

    def __init__(self, names: Iterable[str], categories: CategoryTable) -> None:
        self._categories = categories
        self._counters = {name: ScoreCounter(categories, WITHOUT_BOUNDARY) for name in names}

    def add(self, ground_truth: SegmentedImage, predictions: Mapping[str, PanopticPrediction]) -> None:
        """Add one image."""
        for name, prediction in predictions.items():
            found = segmented(prediction, self._categories)
            self._counters[name].add(count_image(evaluate_image(ground_truth, found, WITHOUT_BOUNDARY)))

    def pq(self, name: str) -> float:
        """PQ in points; 0 if there is no segment at all."""
        return 100 * (self._counters[name].result().average("pq") or 0.0)
