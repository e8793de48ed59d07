"""Scoring one image by its two PNGs and what the JSONs list for them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from panoptic.evaluation.error_breakdown import ImageBreakdown, breakdown_image
from panoptic.evaluation.error_pairs import candidate_ious
from panoptic.evaluation.overlaps import Overlaps, count_overlaps
from panoptic.evaluation.panoptic_quality import match_overlaps
from panoptic.evaluation.scores import ImageScore, ScoringSettings, boundary_distance, score_overlaps
from panoptic.format.annotations import Annotation, check_drawn
from panoptic.format.id_map import decode_id_map
from panoptic.format.segments import AnnotatedSegment
from panoptic.instances.rle import RunLengths
from panoptic.io.errors import DatasetError
from panoptic.io.files import FileSource


@dataclass(frozen=True)
class ImagePair:
    """What is listed for an image; no `prediction` where an absent result counts as one that is all void.

    `candidates`: category ids and masks of the raw instances, before merging; None where no account is wanted.
    """

    ground_truth: Annotation
    prediction: Annotation | None
    candidates: Sequence[tuple[int, RunLengths]] | None


@dataclass(frozen=True, slots=True)
class WrongArea:
    """A true segment whose area in the JSON is not the number of its pixels."""

    image_id: int
    segment_id: int
    listed: int
    counted: int


@dataclass(frozen=True)
class PairOutcome:
    """What was found in one image."""

    score: ImageScore
    error_breakdown: ImageBreakdown | None
    wrong_areas: tuple[WrongArea, ...]


def score_pair(
    pair: ImagePair, ground_truth: FileSource, prediction: FileSource, settings: ScoringSettings
) -> PairOutcome:
    """Score one image.

    Raises `DatasetError` for a PNG that is missing, damaged or of another kind, sizes that differ, ids drawn but not
    listed or listed but not drawn (except true ones by panopticapi's rules, which do not look).
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
    height, width = gt_ids.shape
    overlaps = count_overlaps(gt_ids, predicted_ids, boundary_distance(height, width, settings.boundary_ratio))
    if not settings.panopticapi:
        check_drawn(set(overlaps.gt_ids.tolist()), gt, gt_where)
    check_drawn(set(overlaps.prediction_ids.tolist()), predicted, predicted_where)
    try:
        score = score_overlaps(overlaps, gt.segments, predicted.segments, settings)
        error_breakdown = None
        if pair.candidates is not None:
            matching = match_overlaps(overlaps, gt.segments, predicted.segments, settings.rules)
            ious = candidate_ious(gt_ids, gt.segments, pair.candidates)
            error_breakdown = breakdown_image(overlaps, predicted.segments, matching, ious)
    except DatasetError as error:
        raise DatasetError(f"{gt_where}: {error}") from None
    return PairOutcome(score, error_breakdown, tuple(_wrong_areas(overlaps, gt)))


def _wrong_areas(overlaps: Overlaps, ground_truth: Annotation) -> Iterator[WrongArea]:
    counted = Counter[int]()
    for gt_id, pixels in zip(overlaps.gt_ids.tolist(), overlaps.pixels.tolist(), strict=True):
        counted[gt_id] += pixels
    for segment in ground_truth.segments:
        listed = segment.area if isinstance(segment, AnnotatedSegment) else None
        if listed is not None and listed != counted[segment.id]:
            yield WrongArea(ground_truth.image_id, segment.id, listed, counted[segment.id])
