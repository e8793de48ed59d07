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

from tqdm import tqdm

from panoptic.annotations import Annotation, check_drawn, read_annotations
from panoptic.categories import CategoryTable
from panoptic.errors import DatasetError, Faults
from panoptic.files import FileSource, open_files
from panoptic.id_map import decode_id_map
from panoptic.quality import (
    ClassQuality,
    PanopticQuality,
    QualityCounter,
    count_by_class,
    count_overlaps,
    match_overlaps,
)

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class PanopticFiles:
    """A panoptic JSON, and the folder or zip file of its PNGs."""

    panoptic_json: Path
    masks: Path


@dataclass(frozen=True)
class Scores:
    """The quality of results, and the counts of each picture by category id, in the order of the ground truth."""

    categories: CategoryTable
    quality: PanopticQuality
    per_image: dict[int, dict[int, ClassQuality]]
    # Image ids that have a result but no ground truth.
    ignored: tuple[int, ...]


@dataclass(frozen=True)
class _Pairs:
    """True and predicted annotation of each picture."""

    annotations: tuple[tuple[Annotation, Annotation], ...]
    categories: CategoryTable
    ignored: tuple[int, ...]


def score_results(truth: PanopticFiles, prediction: PanopticFiles, workers: int = 0, progress: bool = False) -> Scores:
    """Panoptic quality of `prediction`; with `workers` above 0 by that many processes, with the same result.

    Raises `DatasetError` with the faults found: those of `read_annotations` and `decode_id_map`, category lists
    that differ, pictures without result, sizes that differ, ids drawn but not listed, or listed but not drawn.
    """
    pairs = _pair_up(truth.panoptic_json, prediction.panoptic_json)
    score = partial(_score, truth=open_files(truth.masks), prediction=open_files(prediction.masks))
    counter = QualityCounter(pairs.categories)
    per_image: dict[int, dict[int, ClassQuality]] = {}
    faults = Faults()
    total = len(pairs.annotations)
    with _outcomes(score, pairs.annotations, workers) as outcomes:
        shown = tqdm(outcomes, desc="score", total=total, unit="picture", disable=not progress)
        for (annotation, _), outcome in zip(pairs.annotations, shown, strict=True):
            if isinstance(outcome, DatasetError):
                faults.add(str(outcome))
            else:
                counter.add(outcome)
                per_image[annotation.image_id] = outcome
    faults.raise_if_any(f"{prediction.masks} against {truth.masks}")
    return Scores(pairs.categories, counter.result(), per_image, pairs.ignored)


def _pair_up(truth_json: Path, prediction_json: Path) -> _Pairs:
    truth = read_annotations(truth_json)
    categories = truth.categories
    assert categories is not None, "without a table given, reading has raised"
    prediction = read_annotations(prediction_json, known=categories)
    difference = categories.describe_difference(prediction.categories or categories)
    if difference:
        raise DatasetError(f"{prediction_json}: other categories than {truth_json}: {difference}; use one list")
    known, predicted = truth.by_image, prediction.by_image
    missing = [image_id for image_id in known if image_id not in predicted]
    if missing:
        shown = ", ".join(map(str, missing[:20])) + (", ..." if len(missing) > 20 else "")
        message = f"no result for {len(missing)} of {len(known)} pictures (image ids {shown})"
        raise DatasetError(f"{prediction_json}: {message}; add their results")
    return _Pairs(
        annotations=tuple((annotation, predicted[image_id]) for image_id, annotation in known.items()),
        categories=categories,
        ignored=tuple(image_id for image_id in predicted if image_id not in known),
    )


def _score(
    pair: tuple[Annotation, Annotation], truth: FileSource, prediction: FileSource
) -> dict[int, ClassQuality] | DatasetError:
    """Counts of one picture by category id. A fault is returned, so that the other pictures are examined too."""
    true, predicted = pair
    true_where = f"{truth.path}: {true.file_name}"
    predicted_where = f"{prediction.path}: {predicted.file_name}"
    try:
        true_ids = decode_id_map(truth.read(true.file_name), true_where)
        predicted_ids = decode_id_map(prediction.read(predicted.file_name), predicted_where)
        if predicted_ids.shape != true_ids.shape:
            sizes = [f"{height} x {width}" for height, width in (predicted_ids.shape, true_ids.shape)]
            message = f"{sizes[0]} (height x width), but the ground truth is {sizes[1]}"
            raise DatasetError(f"{predicted_where}: {message}; write the result at that size")
        overlaps = count_overlaps(true_ids, predicted_ids)
        check_drawn({true_id for true_id, _ in overlaps}, true, true_where)
        check_drawn({predicted_id for _, predicted_id in overlaps}, predicted, predicted_where)
    except DatasetError as error:
        return error
    return count_by_class(match_overlaps(overlaps, true.segments, predicted.segments))


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
