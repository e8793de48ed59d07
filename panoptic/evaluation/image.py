"""Scoring one picture by its two PNGs and what the JSONs list for them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from panoptic.evaluation.error_breakdown import PictureAccount, account_picture
from panoptic.evaluation.error_pairs import candidate_ious
from panoptic.evaluation.overlaps import Overlaps, count_overlaps
from panoptic.evaluation.panoptic_quality import match_overlaps
from panoptic.evaluation.scores import PictureScore, ScoringSettings, boundary_distance, score_overlaps
from panoptic.format.annotations import Annotation, check_drawn
from panoptic.format.id_map import decode_id_map
from panoptic.format.segments import AnnotatedSegment
from panoptic.instances.rle import RunLengths
from panoptic.io.errors import DatasetError
from panoptic.io.files import FileSource


@dataclass(frozen=True)
class PicturePair:
    """What is listed for a picture; no `prediction` where an absent result counts as one that is all void.

    `candidates`: category ids and masks of the raw instances, before merging; None where no account is wanted.
    """

    truth: Annotation
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
    """What was found in one picture."""

    score: PictureScore
    account: PictureAccount | None
    wrong_areas: tuple[WrongArea, ...]


def score_pair(pair: PicturePair, truth: FileSource, prediction: FileSource, settings: ScoringSettings) -> PairOutcome:
    """Score one picture.

    Raises `DatasetError` for a PNG that is missing, damaged or of another kind, sizes that differ, ids drawn but not
    listed or listed but not drawn (except true ones by panopticapi's rules, which do not look).
    """
    true, predicted = pair.truth, pair.prediction or Annotation(pair.truth.image_id, "", ())
    true_where, predicted_where = f"{truth.path}: {true.file_name}", f"{prediction.path}: {predicted.file_name}"
    true_ids = decode_id_map(truth.read(true.file_name), true_where)
    predicted_ids = np.zeros_like(true_ids)
    if pair.prediction is not None:
        predicted_ids = decode_id_map(prediction.read(predicted.file_name), predicted_where)
    if predicted_ids.shape != true_ids.shape:
        sizes = [f"{height} x {width}" for height, width in (predicted_ids.shape, true_ids.shape)]
        message = f"{sizes[0]} (height x width), but the ground truth is {sizes[1]}"
        raise DatasetError(f"{predicted_where}: {message}; write the result at that size")
    height, width = true_ids.shape
    overlaps = count_overlaps(true_ids, predicted_ids, boundary_distance(height, width, settings.boundary_ratio))
    if not settings.panopticapi:
        check_drawn(set(overlaps.truth_ids.tolist()), true, true_where)
    check_drawn(set(overlaps.prediction_ids.tolist()), predicted, predicted_where)
    try:
        score = score_overlaps(overlaps, true.segments, predicted.segments, settings)
        account = None
        if pair.candidates is not None:
            matching = match_overlaps(overlaps, true.segments, predicted.segments, settings.rules)
            ious = candidate_ious(true_ids, true.segments, pair.candidates)
            account = account_picture(overlaps, predicted.segments, matching, ious)
    except DatasetError as error:
        raise DatasetError(f"{true_where}: {error}") from None
    return PairOutcome(score, account, tuple(_wrong_areas(overlaps, true)))


def _wrong_areas(overlaps: Overlaps, truth: Annotation) -> Iterator[WrongArea]:
    counted = Counter[int]()
    for truth_id, pixels in zip(overlaps.truth_ids.tolist(), overlaps.pixels.tolist(), strict=True):
        counted[truth_id] += pixels
    for segment in truth.segments:
        listed = segment.area if isinstance(segment, AnnotatedSegment) else None
        if listed is not None and listed != counted[segment.id]:
            yield WrongArea(truth.image_id, segment.id, listed, counted[segment.id])
