"""PQ by the score threshold of merging, to choose one for weights at hand.

The published threshold drops what a short training is not yet sure of, right as it may be. It is chosen on training
images: chosen on those of the validation split, it would flatter their score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tqdm import tqdm

from model.explanation.quality import PqEstimator, count_prediction
from model.inference.predict import same_size_batches
from model.inference.predictor import Predictor
from model.inference.settings import InferenceSettings
from model.network.segmenter import Segmenter
from panoptic.data.reader import PanopticReader
from panoptic.evaluation.scores import ImageCounts
from panoptic.index import PanopticIndex
from panoptic.report.explained import Estimate

THRESHOLDS = (0.02, 0.05, 0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)


@dataclass(frozen=True)
class ThresholdScore:
    """PQ by group of classes with a score threshold, and `loss`, what it lacks to the best threshold."""

    threshold: float
    pq: Mapping[str, Estimate]
    loss: Estimate


def score_thresholds(
    network: Segmenter,
    settings: InferenceSettings,
    index: PanopticIndex,
    thresholds: Sequence[float] = THRESHOLDS,
    resamples: int = 1000,
    progress: bool = False,
) -> tuple[ThresholdScore, ...]:
    """Predict the images of an index, all of which have ground truth, and merge with each threshold.

    Raises:
        ValueError: there are no images, no thresholds, or one that is none.
    """
    if not thresholds or not index.records:
        raise ValueError(f"{len(thresholds)} thresholds and {len(index.records)} images; give at least one of each")
    mergings = {threshold: replace(settings.merging, score_threshold=threshold) for threshold in thresholds}
    counts: dict[float, list[ImageCounts]] = {threshold: [] for threshold in mergings}
    predictor, reader = Predictor(network, replace(settings, compile=False)), PanopticReader(index)
    with tqdm(total=len(index.records), desc="merge", unit="image", disable=not progress) as bar:
        for batch in same_size_batches(index.records, settings):
            samples = [reader.sample(index.records[position]) for position in batch]
            inputs = [predictor.prepare(one.image, one.record.file_name) for one in samples]
            for sample, found in zip(samples, predictor.find(inputs), strict=True):
                for threshold, merging in mergings.items():
                    counts[threshold].append(count_prediction(sample, found.merge(merging), index.categories))
            bar.update(len(batch))
    estimator = PqEstimator(index.categories, resamples)
    pq = {threshold: estimator.pq(images) for threshold, images in counts.items()}
    best = _best({threshold: groups["all"].value for threshold, groups in pq.items()})
    return tuple(
        ThresholdScore(threshold, pq[threshold], estimator.difference(images, counts[best]))
        for threshold, images in counts.items()
    )


def best_threshold(scores: Sequence[ThresholdScore]) -> float:
    """Return the threshold with the highest PQ, the highest of equal ones."""
    return _best({one.threshold: one.pq["all"].value for one in scores})


def _best(pq: Mapping[float, float]) -> float:
    return max(pq, key=lambda threshold: (pq[threshold], threshold))
