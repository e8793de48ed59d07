"""Every score of an image from one look at its two id maps, and their sums over a dataset.

PQ and boundary PQ by class (`panoptic.evaluation.panoptic_quality`), and semantic IoU.
Knows nothing of files, nor of who made the results.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from panoptic.evaluation.overlaps import Overlaps, count_overlaps
from panoptic.evaluation.panoptic_quality import (
    ClassQuality,
    MatchingRules,
    PanopticQuality,
    QualityCounter,
    count_by_class,
    match_boundaries,
    match_overlaps,
)
from panoptic.format.categories import CategoryTable
from panoptic.format.segments import SegmentLabel


@dataclass(frozen=True)
class ScoringSettings:
    """How images are scored.

    `boundary_ratio`: width of the band as a share of the image's diagonal; 0 leaves boundary PQ out.
    `panopticapi`: match as the public tool does, see `panoptic.evaluation.panoptic_quality.MatchingRules`.
    `missing_as_empty`: an image without a result is scored as if the result were all void.
    """

    boundary_ratio: float = 0.02
    panopticapi: bool = False
    missing_as_empty: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.boundary_ratio <= 1:
            raise ValueError(f"the boundary ratio is {self.boundary_ratio}; give a share of the diagonal from 0 to 1")

    @property
    def rules(self) -> MatchingRules:
        return MatchingRules(self.panopticapi)


@dataclass(frozen=True, slots=True)
class SemanticCount:
    """Pixels of one class in both semantic maps, and in either; true void is in neither."""

    intersection: int = 0
    union: int = 0

    def __add__(self, other: "SemanticCount") -> "SemanticCount":
        return SemanticCount(self.intersection + other.intersection, self.union + other.union)

    @property
    def iou(self) -> float | None:
        return self.intersection / self.union if self.union else None


@dataclass(frozen=True, slots=True)
class ImageScore:
    """What one image adds, by category id, for the classes that occur in it; `boundaries` is empty where left out."""

    masks: dict[int, ClassQuality]
    boundaries: dict[int, ClassQuality]
    semantic: dict[int, SemanticCount]


@dataclass(frozen=True)
class Scores:
    """The result for a dataset; None for what was left out."""

    categories: CategoryTable
    quality: PanopticQuality
    boundary_quality: PanopticQuality | None
    semantic: Mapping[int, SemanticCount]

    @property
    def miou(self) -> float | None:
        """Mean IoU of the semantic maps over the classes that occur in either."""
        ious = [count.iou for count in self.semantic.values() if count.iou is not None]
        return sum(ious) / len(ious) if ious else None


def boundary_distance(height: int, width: int, ratio: float) -> int:
    """The band's width in pixels, as boundary-iou-api computes it: at least 1; 0, no band, where the ratio is 0."""
    return max(1, round(ratio * sqrt(height**2 + width**2))) if ratio else 0


def score_image(
    gt_ids: NDArray[np.int32],
    ground_truth: Sequence[SegmentLabel],
    prediction_ids: NDArray[np.int32],
    prediction: Sequence[SegmentLabel],
    settings: ScoringSettings,
) -> ImageScore:
    """Score one image; both id maps are (H,W), and their ids those listed."""
    height, width = gt_ids.shape
    overlaps = count_overlaps(gt_ids, prediction_ids, boundary_distance(height, width, settings.boundary_ratio))
    return score_overlaps(overlaps, ground_truth, prediction, settings)


def score_overlaps(
    overlaps: Overlaps,
    ground_truth: Sequence[SegmentLabel],
    prediction: Sequence[SegmentLabel],
    settings: ScoringSettings,
) -> ImageScore:
    """Score one image by its table of overlaps, counted with the bands that the settings ask for."""
    masks = count_by_class(match_overlaps(overlaps, ground_truth, prediction, settings.rules))
    boundaries: dict[int, ClassQuality] = {}
    if settings.boundary_ratio:
        boundaries = count_by_class(match_boundaries(overlaps, ground_truth, prediction, settings.rules))
    return ImageScore(masks, boundaries, _semantic(overlaps, ground_truth, prediction))


def _semantic(
    overlaps: Overlaps, ground_truth: Sequence[SegmentLabel], prediction: Sequence[SegmentLabel]
) -> dict[int, SemanticCount]:
    """Crowd counts as its class, true void nowhere; a labeled pixel that the prediction leaves void is missed."""
    gt_class = {segment.id: segment.category_id for segment in ground_truth}
    predicted_class = {segment.id: segment.category_id for segment in prediction}
    intersection, union = Counter[int](), Counter[int]()
    columns = (overlaps.gt_ids, overlaps.prediction_ids, overlaps.pixels)
    for gt_id, prediction_id, pixels in zip(*(column.tolist() for column in columns), strict=True):
        gt, predicted = gt_class.get(gt_id), predicted_class.get(prediction_id)
        if gt is None:
            continue
        union[gt] += pixels
        if predicted == gt:
            intersection[gt] += pixels
        elif predicted is not None:
            union[predicted] += pixels
    return {key: SemanticCount(intersection[key], union[key]) for key in sorted(union)}


@dataclass
class ScoreCounter:
    """Adds up images. The order of images is the order of summation."""

    categories: CategoryTable
    settings: ScoringSettings
    _masks: QualityCounter = field(init=False)
    _boundaries: QualityCounter = field(init=False)
    _semantic: dict[int, SemanticCount] = field(init=False)

    def __post_init__(self) -> None:
        self._masks, self._boundaries = QualityCounter(self.categories), QualityCounter(self.categories)
        self._semantic = {category.id: SemanticCount() for category in self.categories}

    def add(self, score: ImageScore) -> None:
        self._masks.add(score.masks)
        self._boundaries.add(score.boundaries)
        for category_id, count in score.semantic.items():
            self._semantic[category_id] += count

    def result(self) -> Scores:
        boundaries = self._boundaries.result() if self.settings.boundary_ratio else None
        return Scores(self.categories, self._masks.result(), boundaries, dict(self._semantic))
