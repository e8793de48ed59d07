"""The one evaluation of an image, which all scores, the error breakdown and the error browser read.

`evaluate_image` compares two id maps once; what costs more than that is computed when it is first read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from panoptic.evaluation.overlaps import Overlaps, count_overlaps
from panoptic.evaluation.panoptic_quality import (
    Areas,
    Matching,
    MatchingRules,
    mask_areas,
    match_boundaries,
    match_overlaps,
)
from panoptic.format.annotations import Annotation, check_drawn
from panoptic.format.id_map import decode_id_map
from panoptic.format.segments import SegmentLabel
from panoptic.instances.rle import Rle
from panoptic.io.errors import DatasetError
from panoptic.io.files import FileSource

Candidates = Sequence[tuple[int, Rle]]
"""Category ids and masks of the raw instances of one image, before merging."""


@dataclass(frozen=True)
class ScoringSettings:
    """Options of an evaluation.

    `boundary_ratio`: width of the band as a fraction of the image's diagonal; 0 leaves boundary PQ out.
    `panopticapi`: match as the public tool does, see `panoptic.evaluation.panoptic_quality.MatchingRules`.
    `missing_as_empty`: score an image without a result as if the result were all void.
    """

    boundary_ratio: float = 0.02
    panopticapi: bool = False
    missing_as_empty: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.boundary_ratio <= 1:
            raise ValueError(
                f"the boundary ratio is {self.boundary_ratio}; give a fraction of the diagonal from 0 to 1"
            )

    @property
    def rules(self) -> MatchingRules:
        return MatchingRules(self.panopticapi)


WITHOUT_BOUNDARY = ScoringSettings(boundary_ratio=0)


@dataclass(frozen=True)
class SegmentedImage:
    """An id map (H,W) and its segments."""

    ids: NDArray[np.int32]
    segments: Sequence[SegmentLabel]


@dataclass(frozen=True)
class ImageEvaluation:
    """A prediction compared with the ground truth of one image."""

    ground_truth: SegmentedImage
    prediction: SegmentedImage
    settings: ScoringSettings
    candidates: Candidates
    overlaps: Overlaps

    @cached_property
    def matching(self) -> Matching:
        """The matching by mask IoU, for PQ."""
        return match_overlaps(*self._matched, self.masks)

    @cached_property
    def boundary_matching(self) -> Matching:
        """The matching by min(mask IoU, boundary IoU), for boundary PQ; needs a boundary ratio above 0."""
        return match_boundaries(*self._matched, self.masks)

    @property
    def _matched(self) -> tuple[Overlaps, Sequence[SegmentLabel], Sequence[SegmentLabel], MatchingRules]:
        return self.overlaps, self.ground_truth.segments, self.prediction.segments, self.settings.rules

    @cached_property
    def masks(self) -> Areas:
        """The areas of whole masks; by panopticapi's rules, those of the ground truth are the JSON's."""
        return mask_areas(self.overlaps, self.ground_truth.segments, self.settings.rules)


def evaluate_image(
    ground_truth: SegmentedImage, prediction: SegmentedImage, settings: ScoringSettings, candidates: Candidates = ()
) -> ImageEvaluation:
    """Evaluate one image, given two id maps of one size whose ids are exactly those of their segments."""
    height, width = ground_truth.ids.shape
    distance = boundary_distance(height, width, settings.boundary_ratio)
    overlaps = count_overlaps(ground_truth.ids, prediction.ids, distance)
    return ImageEvaluation(ground_truth, prediction, settings, candidates, overlaps)


def boundary_distance(height: int, width: int, ratio: float) -> int:
    """Width of the band in pixels as boundary-iou-api computes it: at least 1, or 0 (no band) for a ratio of 0."""
    return max(1, round(ratio * sqrt(height**2 + width**2))) if ratio else 0


@dataclass(frozen=True)
class ImagePair:
    """The JSON entries of one image; `prediction` is None where an absent result counts as all void."""

    ground_truth: Annotation
    prediction: Annotation | None
    candidates: Candidates = ()


def evaluate_pair(
    pair: ImagePair, ground_truth: FileSource, prediction: FileSource, settings: ScoringSettings
) -> ImageEvaluation:
    """Read the PNGs of one image and evaluate it.

    Raises `DatasetError` for a PNG that is missing, damaged or of another type, sizes that differ, and ids drawn but
    not listed or listed but not drawn (except in the ground truth by panopticapi's rules, which do not look).
    """
    gt, predicted = pair.ground_truth, pair.prediction or Annotation(pair.ground_truth.image_id, "", ())
    gt_where, predicted_where = f"{ground_truth.path}: {gt.file_name}", f"{prediction.path}: {predicted.file_name}"
    gt_ids = decode_id_map(ground_truth.read(gt.file_name), gt_where)
    predicted_ids = np.zeros_like(gt_ids)
    if pair.prediction is not None:
        predicted_ids = decode_id_map(prediction.read(predicted.file_name), predicted_where)
    if predicted_ids.shape != gt_ids.shape:
        sizes = [f"{height} x {width}" for height, width in (predicted_ids.shape, gt_ids.shape)]
        message = f"{sizes[0]} (height x width), but the ground truth is {sizes[1]}"
        raise DatasetError(f"{predicted_where}: {message}; write the result at that size")
    sides = SegmentedImage(gt_ids, gt.segments), SegmentedImage(predicted_ids, predicted.segments)
    evaluation = evaluate_image(*sides, settings, pair.candidates)
    if not settings.panopticapi:
        check_drawn(set(evaluation.overlaps.gt_ids.tolist()), gt, gt_where)
    check_drawn(set(evaluation.overlaps.prediction_ids.tolist()), predicted, predicted_where)
    return evaluation
