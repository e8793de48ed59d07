"""Images with everything that the parts of an explanation read: what the network did, found, and should have found."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from model.explanation.recording import Recording, recording
from model.inference.merging import PredictedSegment
from model.inference.post_processing import FoundMasks, PanopticPrediction
from model.inference.predict import same_size_batches
from model.inference.predictor import Predictor
from model.inference.settings import InferenceSettings
from model.network.segmenter import Segmenter
from panoptic.data.reader import PanopticReader, Sample
from panoptic.evaluation.image import WITHOUT_BOUNDARY, ImageEvaluation, SegmentedImage, evaluate_image
from panoptic.format.categories import CategoryTable
from panoptic.format.results import ResultSegment
from panoptic.index import PanopticIndex

FOLDER = (
    "is a folder, as networks in transformers' layout are, whose layers cannot be recorded; give weights that"
    " stages.train wrote"
)
"""Why a folder is not explained."""


@dataclass(frozen=True)
class ObservedImage:
    """One image of a batch, and what the network did with it."""

    name: str
    pixels: npt.NDArray[np.uint8]  # (H, W, 3) RGB
    network: Segmenter
    recording: Recording
    position: int
    """In the recorded batch."""
    found: FoundMasks
    prediction: PanopticPrediction
    categories: CategoryTable
    settings: InferenceSettings
    ground_truth: SegmentedImage | None

    @cached_property
    def segments(self) -> tuple[ResultSegment, ...]:
        """The predicted segments with the ids of their categories."""
        return self.prediction.result_segments(self.categories)

    @cached_property
    def evaluation(self) -> ImageEvaluation | None:
        """The prediction compared with the ground truth, if there is any, without boundaries."""
        if self.ground_truth is None:
            return None
        predicted = SegmentedImage(self.prediction.ids, self.segments)
        return evaluate_image(self.ground_truth, predicted, WITHOUT_BOUNDARY)

    def matched(self) -> Iterator[tuple[PredictedSegment, npt.NDArray[np.bool_]]]:
        """Yield the predicted segments that match one of the ground truth, with the mask (H, W) of the latter."""
        if self.evaluation is None or self.ground_truth is None:
            return
        by_id = {segment.id: segment for segment in self.prediction.segments}
        for match in self.evaluation.matching.matches:
            yield by_id[match.prediction_id], self.ground_truth.ids == match.gt_id

    def largest(self, count: int) -> list[PredictedSegment]:
        """Return the largest predicted things, then stuff, so many of each, the largest first."""
        ordered = sorted(self.prediction.segments, key=lambda segment: (-segment.area, segment.id))
        return [one for wanted in (True, False) for one in [one for one in ordered if one.is_thing == wanted][:count]]


def observed_images(
    network: Segmenter, settings: InferenceSettings, index: PanopticIndex, progress: bool = False
) -> Iterator[ObservedImage]:
    """Predict the images of an index as `stages.predict` does, and yield them with what was recorded."""
    reader = PanopticReader(index)
    observer = Observer(network, settings, index.categories)
    with tqdm(total=len(index.records), desc="explain", unit="image", disable=not progress) as bar:
        for batch in same_size_batches(index.records, settings):
            samples = [reader.sample(index.records[position]) for position in batch]
            yield from observer.observe([(sample.record.file_name, sample.image) for sample in samples], samples)
            bar.update(len(batch))


class Observer:
    """Runs a network and records what it does."""

    def __init__(self, network: Segmenter, settings: InferenceSettings, categories: CategoryTable) -> None:
        self.config = network.config
        self._network, self._categories = network, categories
        self._settings = replace(settings, compile=False)  # compiled code has no layers to look into
        self._predictor = Predictor(network, self._settings)

    def observe(
        self, images: Sequence[tuple[str, npt.NDArray[np.uint8]]], samples: Sequence[Sample] | None = None
    ) -> Iterator[ObservedImage]:
        """Predict images (H, W, 3) that have one size for the network, with their names, and yield what is observed.

        With `samples`, their ground truth goes with them; unlabeled ones have none.
        """
        inputs = [self._predictor.prepare(pixels, name) for name, pixels in images]
        with recording(self._network) as recorded:
            found = list(self._predictor.find(inputs))
        for position, ((name, pixels), masks) in enumerate(zip(images, found, strict=True)):
            yield ObservedImage(
                name=name,
                pixels=pixels,
                network=self._network,
                recording=recorded,
                position=position,
                found=masks,
                prediction=masks.merge(self._settings.merging),
                categories=self._categories,
                settings=self._settings,
                ground_truth=_ground_truth(samples[position]) if samples else None,
            )


def _ground_truth(sample: Sample) -> SegmentedImage | None:
    return SegmentedImage(sample.ids, sample.record.segments) if sample.record.segments else None
