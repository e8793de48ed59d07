"""Scoring one set of panoptic files against another. Knows nothing of who made the results."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import ceil
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from panoptic.annotations import Annotation, check_drawn, read_annotations
from panoptic.categories import CategoryTable
from panoptic.errors import DatasetError, Faults, shown_ids
from panoptic.files import FileSource, open_files
from panoptic.id_map import decode_id_map
from panoptic.overlaps import Overlaps, count_overlaps
from panoptic.scoring import PictureScore, ScoreCounter, Scores, ScoringSettings, boundary_distance, score_overlaps
from panoptic.segments import AnnotatedSegment

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class PanopticFiles:
    """A panoptic JSON, and the folder or zip file of its PNGs."""

    panoptic_json: Path
    masks: Path


@dataclass(frozen=True)
class FileScores:
    """The scores of results, and of each picture by image id, in the order of the ground truth.

    `ignored`: image ids that have a result but no ground truth. `empty`: those without a result, where that is allowed.
    `wrong_areas`: those with a true segment whose area in the JSON is not that in the PNG.
    """

    scores: Scores
    per_image: dict[int, PictureScore]
    ignored: tuple[int, ...]
    empty: tuple[int, ...]
    wrong_areas: tuple[int, ...]


@dataclass(frozen=True)
class _Pair:
    """True and predicted annotation of a picture; None where an absent result counts as an empty one."""

    truth: Annotation
    prediction: Annotation | None


@dataclass(frozen=True)
class _Outcome:
    score: PictureScore
    wrong_areas: bool


def score_results(
    truth: PanopticFiles,
    prediction: PanopticFiles,
    settings: ScoringSettings,
    missing_as_empty: bool = False,
    workers: int = 0,
    progress: bool = False,
) -> FileScores:
    """Score `prediction`; with `workers` above 0 by that many processes, with the same result.

    Raises `DatasetError` with the faults found: those of `read_annotations` and `decode_id_map`, category lists that
    differ, pictures without result (unless `missing_as_empty`: then their segments are missed), sizes that differ, ids
    drawn but not listed, or listed but not drawn.
    """
    categories, pairs, ignored = _pair_up(truth.panoptic_json, prediction.panoptic_json, missing_as_empty)
    score = partial(_score, truth=open_files(truth.masks), prediction=open_files(prediction.masks), settings=settings)
    counter = ScoreCounter(categories, settings)
    per_image: dict[int, PictureScore] = {}
    wrong_areas: list[int] = []
    faults = Faults()
    with _outcomes(score, pairs, workers) as outcomes:
        shown = tqdm(outcomes, desc="score", total=len(pairs), unit="picture", disable=not progress)
        for pair, outcome in zip(pairs, shown, strict=True):
            if isinstance(outcome, DatasetError):
                faults.add(str(outcome))
                continue
            counter.add(outcome.score)
            per_image[pair.truth.image_id] = outcome.score
            wrong_areas += [pair.truth.image_id] if outcome.wrong_areas else []
    faults.raise_if_any(f"{prediction.masks} against {truth.masks}")
    empty = tuple(pair.truth.image_id for pair in pairs if pair.prediction is None)
    return FileScores(counter.result(), per_image, ignored, empty, tuple(wrong_areas))


def _pair_up(
    truth_json: Path, prediction_json: Path, missing_as_empty: bool
) -> tuple[CategoryTable, tuple[_Pair, ...], tuple[int, ...]]:
    """The categories, the pairs in the order of the ground truth, and the image ids that have no ground truth."""
    truth = read_annotations(truth_json)
    categories = truth.categories
    assert categories is not None, "without a table given, reading has raised"
    prediction = read_annotations(prediction_json, known=categories)
    difference = categories.describe_difference(prediction.categories or categories)
    if difference:
        raise DatasetError(f"{prediction_json}: other categories than {truth_json}: {difference}; use one list")
    known, predicted = truth.by_image, prediction.by_image
    missing = [image_id for image_id in known if image_id not in predicted]
    if missing and not missing_as_empty:
        message = f"no result for {len(missing)} of {len(known)} pictures (image ids {shown_ids(missing)})"
        raise DatasetError(f"{prediction_json}: {message}; add their results, or count them with --missing-as-empty")
    pairs = tuple(_Pair(annotation, predicted.get(image_id)) for image_id, annotation in known.items())
    return categories, pairs, tuple(image_id for image_id in predicted if image_id not in known)


def _score(
    pair: _Pair, truth: FileSource, prediction: FileSource, settings: ScoringSettings
) -> _Outcome | DatasetError:
    """Score one picture. A fault is returned, so that the other pictures are examined too."""
    try:
        overlaps = _overlaps(pair, truth, prediction, settings)
    except DatasetError as error:
        return error
    predicted = () if pair.prediction is None else pair.prediction.segments
    try:
        score = score_overlaps(overlaps, pair.truth.segments, predicted, settings)
    except DatasetError as error:
        return DatasetError(f"{truth.path}: {pair.truth.file_name}: {error}")
    return _Outcome(score, _areas_differ(overlaps, pair.truth))


def _overlaps(pair: _Pair, truth: FileSource, prediction: FileSource, settings: ScoringSettings) -> Overlaps:
    """Read both PNGs and check them against their lists."""
    true_where = f"{truth.path}: {pair.truth.file_name}"
    true_ids = decode_id_map(truth.read(pair.truth.file_name), true_where)
    predicted_ids, predicted_where = np.zeros_like(true_ids), ""
    if pair.prediction is not None:
        predicted_where = f"{prediction.path}: {pair.prediction.file_name}"
        predicted_ids = decode_id_map(prediction.read(pair.prediction.file_name), predicted_where)
    if predicted_ids.shape != true_ids.shape:
        sizes = [f"{height} x {width}" for height, width in (predicted_ids.shape, true_ids.shape)]
        message = f"{sizes[0]} (height x width), but the ground truth is {sizes[1]}"
        raise DatasetError(f"{predicted_where}: {message}; write the result at that size")
    height, width = true_ids.shape
    overlaps = count_overlaps(true_ids, predicted_ids, boundary_distance(height, width, settings.boundary_ratio))
    if not settings.panopticapi:
        check_drawn(set(overlaps.truth_ids.tolist()), pair.truth, true_where)
    if pair.prediction is not None:
        check_drawn(set(overlaps.prediction_ids.tolist()), pair.prediction, predicted_where)
    return overlaps


def _areas_differ(overlaps: Overlaps, truth: Annotation) -> bool:
    """Whether the JSON claims another area for a segment than its pixels are."""
    listed = {
        segment.id: segment.area
        for segment in truth.segments
        if isinstance(segment, AnnotatedSegment) and segment.area is not None
    }
    drawn = dict.fromkeys(listed, 0)
    for truth_id, pixels in zip(overlaps.truth_ids.tolist(), overlaps.pixels.tolist(), strict=True):
        if truth_id in drawn:
            drawn[truth_id] += pixels
    return drawn != listed


@contextmanager
def _outcomes(score: Callable[[T], R], pairs: Sequence[T], workers: int) -> Iterator[Iterable[R]]:
    """Apply `score` to each pair, in order, here or in worker processes."""
    if workers <= 0:
        yield map(score, pairs)
        return
    # A fresh interpreter instead of a fork: OpenCV's threads do not survive one.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        # Few tasks for each worker, because each opens zip files anew.
        yield pool.map(score, pairs, chunksize=ceil(len(pairs) / (4 * workers)))
