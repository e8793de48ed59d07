"""PQ of several predictions of the same images, and the differences between them, with intervals over the images."""

from collections.abc import Sequence
from dataclasses import dataclass

from model.inference.post_processing import PanopticPrediction
from panoptic.data.reader import Sample
from panoptic.evaluation.bootstrap import Interval, bootstrap_intervals, paired_intervals
from panoptic.evaluation.image import WITHOUT_BOUNDARY, SegmentedImage, evaluate_image
from panoptic.evaluation.scores import PQ, ImageCounts, ScoreCounter, count_image
from panoptic.format.categories import CategoryTable
from panoptic.report.explained import Estimate


def count_prediction(sample: Sample, prediction: PanopticPrediction, categories: CategoryTable) -> ImageCounts:
    """Count what the prediction of an image finds of its ground truth, for PQ alone."""
    ground_truth = SegmentedImage(sample.ids, sample.record.segments)
    predicted = SegmentedImage(prediction.ids, prediction.result_segments(categories))
    return count_image(evaluate_image(ground_truth, predicted, WITHOUT_BOUNDARY))


@dataclass(frozen=True)
class PqEstimator:
    """Estimates PQ from the counts of images; `resamples` 0 leaves the intervals out."""

    categories: CategoryTable
    resamples: int

    def pq(self, images: Sequence[ImageCounts]) -> dict[str, Estimate]:
        """Estimate PQ by group of classes, of those groups that occur."""
        intervals: dict[str, Interval | None] = {}
        if self.resamples:
            intervals = bootstrap_intervals(images, [PQ], self.categories, self.resamples)["pq"]
        return {
            group: Estimate.of(value, intervals.get(group))
            for group, value in self._averages(images).items()
            if value is not None
        }

    def difference(self, first: Sequence[ImageCounts], second: Sequence[ImageCounts]) -> Estimate:
        """Estimate PQ of the second minus PQ of the first, which count the same images in the same order."""
        before, after = (self._averages(images)["all"] for images in (first, second))
        assert before is not None
        assert after is not None
        interval = None
        if self.resamples:
            interval = paired_intervals(first, second, [PQ], self.categories, self.resamples).groups["pq"]["all"]
        return Estimate.of(after - before, interval)

    def _averages(self, images: Sequence[ImageCounts]) -> dict[str, float | None]:
        counter = ScoreCounter(self.categories, WITHOUT_BOUNDARY)
        for counts in images:
            counter.add(counts)
        return counter.result().averages(PQ)["pq"]
