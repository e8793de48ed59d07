"""Scoring one set of panoptic files against another. Knows nothing of who made the results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path

from tqdm import tqdm

from panoptic.evaluation.error_breakdown import ImageBreakdown
from panoptic.evaluation.image import ImagePair, PairOutcome, WrongArea, score_pair
from panoptic.evaluation.scores import ImageScore, ScoreCounter, Scores, ScoringSettings
from panoptic.format.annotations import Annotation, read_annotations
from panoptic.format.categories import CategoryTable
from panoptic.index import PanopticIndex
from panoptic.instances.rle import RunLengths
from panoptic.io.errors import DatasetError, Issues, shown_ids
from panoptic.io.files import FileSource, open_files
from panoptic.runtime.parallel import worker_pool

# By image id, the category ids and masks of the raw instances, as they were before merging.
Candidates = Mapping[int, Sequence[tuple[int, RunLengths]]]


@dataclass(frozen=True)
class PanopticFiles:
    """A panoptic JSON, and the folder or zip file of its PNGs."""

    panoptic_json: Path
    masks: Path


@dataclass(frozen=True)
class PanopticGroundTruth:
    """What is true of each image, by image id; `path`, where it was read, names it in messages."""

    path: Path
    masks: FileSource
    categories: CategoryTable
    by_image: Mapping[int, Annotation]

    @classmethod
    def from_files(cls, files: PanopticFiles) -> "PanopticGroundTruth":
        """Raises `DatasetError` with the issues of the JSON."""
        ground_truth = read_annotations(files.panoptic_json)
        assert ground_truth.categories is not None, "without a table given, reading has raised"
        return cls(files.panoptic_json, open_files(files.masks), ground_truth.categories, ground_truth.by_image)

    @classmethod
    def from_index(cls, path: Path) -> "PanopticGroundTruth":
        """The index of a split, whose areas are those of the pixels. Raises `DatasetError` where it is none."""
        index = PanopticIndex.load(path)
        annotations = (Annotation(record.image_id, record.mask_name, record.segments) for record in index.records)
        return cls(
            path, index.mask_files(), index.categories, {annotation.image_id: annotation for annotation in annotations}
        )


@dataclass(frozen=True)
class FileScores:
    """The scores of results, and of each image by image id, in the order of the ground truth.

    `error_breakdown`: of the PQ loss, if asked for. `ignored`: image ids with a result but no ground truth. `empty`:
    those without a result, where that is allowed.
    """

    scores: Scores
    per_image: dict[int, ImageScore]
    error_breakdown: ImageBreakdown | None
    ignored: tuple[int, ...]
    empty: tuple[int, ...]
    wrong_areas: tuple[WrongArea, ...]


def score_results(
    ground_truth: PanopticGroundTruth,
    prediction: PanopticFiles,
    settings: ScoringSettings,
    workers: int = 0,
    progress: bool = False,
    candidates: Candidates | None = None,
) -> FileScores:
    """Score `prediction`; with `workers` above 0 by that many processes, with the same result.

    With `candidates`, which may be empty, there is an account of what was lost. Raises `DatasetError` with the issues
    found: those of `read_annotations` and `score_pair`, category lists that differ, images without result (unless
    the settings allow it).
    """
    annotations, ignored = _pair_up(ground_truth, prediction.panoptic_json, settings)
    pairs = [
        ImagePair(gt, predicted, None if candidates is None else candidates.get(gt.image_id, ()))
        for gt, predicted in annotations
    ]
    score = partial(_score, ground_truth=ground_truth.masks, prediction=open_files(prediction.masks), settings=settings)
    counter = ScoreCounter(ground_truth.categories, settings)
    per_image: dict[int, ImageScore] = {}
    error_breakdown = ImageBreakdown()
    wrong_areas: list[WrongArea] = []
    issues = Issues()
    with worker_pool(workers) as pool:
        # Few tasks for each worker, because each opens zip files anew.
        outcomes = pool.map(score, pairs, chunksize=ceil(len(pairs) / (4 * workers))) if pool else map(score, pairs)
        shown = tqdm(outcomes, desc="score", total=len(pairs), unit="image", disable=not progress)
        for pair, outcome in zip(pairs, shown, strict=True):
            if isinstance(outcome, DatasetError):
                issues.add(str(outcome))
                continue
            counter.add(outcome.score)
            per_image[pair.ground_truth.image_id] = outcome.score
            error_breakdown += outcome.error_breakdown or ImageBreakdown()
            wrong_areas += outcome.wrong_areas
    issues.raise_if_any(f"{prediction.masks} against {ground_truth.masks.path}")
    return FileScores(
        scores=counter.result(),
        per_image=per_image,
        error_breakdown=None if candidates is None else error_breakdown,
        ignored=ignored,
        empty=tuple(pair.ground_truth.image_id for pair in pairs if pair.prediction is None),
        wrong_areas=tuple(wrong_areas),
    )


def _pair_up(
    ground_truth: PanopticGroundTruth, prediction_json: Path, settings: ScoringSettings
) -> tuple[list[tuple[Annotation, Annotation | None]], tuple[int, ...]]:
    """The pairs in the order of the ground truth, and the image ids that have no ground truth."""
    prediction = read_annotations(prediction_json, known=ground_truth.categories)
    difference = ground_truth.categories.describe_difference(prediction.categories or ground_truth.categories)
    if difference:
        raise DatasetError(f"{prediction_json}: other categories than {ground_truth.path}: {difference}; use one list")
    known, predicted = ground_truth.by_image, prediction.by_image
    missing = [image_id for image_id in known if image_id not in predicted]
    if missing and not settings.missing_as_empty:
        message = f"no result for {len(missing)} of {len(known)} images (image ids {shown_ids(missing)})"
        raise DatasetError(f"{prediction_json}: {message}; add their results, or count them with --missing-as-empty")
    pairs = [(annotation, predicted.get(image_id)) for image_id, annotation in known.items()]
    return pairs, tuple(image_id for image_id in predicted if image_id not in known)


def _score(
    pair: ImagePair, ground_truth: FileSource, prediction: FileSource, settings: ScoringSettings
) -> PairOutcome | DatasetError:
    """Score one image. An issue is returned, so that the other images are inspected too."""
    try:
        return score_pair(pair, ground_truth, prediction, settings)
    except DatasetError as error:
        return error
