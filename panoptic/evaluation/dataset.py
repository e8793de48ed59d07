"""Scoring one set of panoptic files against another, whatever system wrote them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path

from tqdm import tqdm

from panoptic.evaluation.error_breakdown import ErrorBreakdown, breakdown_image
from panoptic.evaluation.error_pairs import find_error_pairs
from panoptic.evaluation.image import Candidates, ImageEvaluation, ImagePair, ScoringSettings, evaluate_pair
from panoptic.evaluation.scores import ImageCounts, ScoreCounter, Scores, count_image
from panoptic.evaluation.sizes import count_sizes
from panoptic.format.annotations import Annotation, read_annotations
from panoptic.format.categories import CategoryTable
from panoptic.format.image_id import ImageId, require_same_type
from panoptic.format.segments import AnnotatedSegment
from panoptic.index import PanopticIndex
from panoptic.io.errors import DatasetError, Issues, shown_ids
from panoptic.io.files import FileSource, open_files
from panoptic.runtime.parallel import worker_pool


@dataclass(frozen=True)
class PanopticFiles:
    """A panoptic JSON, and the folder or zip file of its PNGs."""

    panoptic_json: Path
    masks: Path


@dataclass(frozen=True)
class PanopticGroundTruth:
    """The ground truth by image id; `path`, where it was read, names it in messages."""

    path: Path
    masks: FileSource
    categories: CategoryTable
    by_image: Mapping[ImageId, Annotation]

    @classmethod
    def from_files(cls, files: PanopticFiles) -> "PanopticGroundTruth":
        """Read a panoptic JSON. Raises `DatasetError` with its issues."""
        ground_truth = read_annotations(files.panoptic_json)
        assert ground_truth.categories is not None, "without a table given, reading has raised"
        return cls(files.panoptic_json, open_files(files.masks), ground_truth.categories, ground_truth.by_image)

    @classmethod
    def from_index(cls, path: Path) -> "PanopticGroundTruth":
        """Read the index of a split, whose areas are counted in pixels. Raises `DatasetError` if it is not one."""
        index = PanopticIndex.load(path)
        annotations = (Annotation(record.image_id, record.mask_name, record.segments) for record in index.records)
        by_image = {annotation.image_id: annotation for annotation in annotations}
        return cls(path, index.mask_files(), index.categories, by_image)


@dataclass(frozen=True, slots=True)
class WrongArea:
    """A ground truth segment whose area in the JSON is not the number of its pixels.

    `is_impossible`: by the listed area, its union with a prediction is smaller than the intersection.
    """

    image_id: ImageId
    segment_id: int
    listed: int
    counted: int
    is_impossible: bool = False


def describe_areas(areas: Sequence[WrongArea]) -> str:
    """Name the first of some segments for a message."""
    return "; ".join(
        f"image id {wrong.image_id}: segment {wrong.segment_id} lists {wrong.listed}, has {wrong.counted} pixels"
        for wrong in areas[:3]
    )


@dataclass(frozen=True)
class ImageResult:
    """The part of an evaluation that is kept of one image; small enough to send between processes."""

    counts: ImageCounts
    by_size: ImageCounts
    error_breakdown: ErrorBreakdown
    wrong_areas: tuple[WrongArea, ...]


@dataclass(frozen=True)
class FileScores:
    """The scores of results, and the counts of each image by image id, in the order of the ground truth.

    `by_size`: those of the same images for `panoptic.evaluation.sizes.SIZE_METRICS`.
    `error_breakdown`: of the PQ loss, if asked for. `ignored`: image ids with a result but no ground truth. `empty`:
    image ids without a result, where that is allowed.
    """

    scores: Scores
    per_image: dict[ImageId, ImageCounts]
    by_size: tuple[ImageCounts, ...]
    error_breakdown: ErrorBreakdown | None
    ignored: tuple[ImageId, ...]
    empty: tuple[ImageId, ...]
    wrong_areas: tuple[WrongArea, ...]


def score_results(
    ground_truth: PanopticGroundTruth,
    prediction: PanopticFiles,
    settings: ScoringSettings,
    workers: int = 0,
    progress: bool = False,
    candidates: Mapping[ImageId, Candidates] | None = None,
) -> FileScores:
    """Score `prediction`; with `workers` above 0 by that many processes, with the same result.

    With `candidates` by image id, which may be empty, the PQ loss is broken down by error. Raises `DatasetError` with
    all issues: those of `read_annotations` and `evaluate_pair`, category lists that differ, image ids of another type,
    images without a result (unless the settings allow it), areas in the JSON that are too small.
    """
    annotations, ignored = _pair_up(ground_truth, prediction.panoptic_json, settings)
    pairs = [ImagePair(gt, predicted, (candidates or {}).get(gt.image_id, ())) for gt, predicted in annotations]
    score = partial(
        _score,
        ground_truth=ground_truth.masks,
        prediction=open_files(prediction.masks),
        settings=settings,
        with_breakdown=candidates is not None,
    )
    counter = ScoreCounter(ground_truth.categories, settings)
    per_image: dict[ImageId, ImageCounts] = {}
    by_size: list[ImageCounts] = []
    error_breakdown = ErrorBreakdown()
    wrong_areas: list[WrongArea] = []
    issues = Issues()
    with worker_pool(workers, "evaluate.workers (--workers)") as pool:
        # Few tasks for each worker, because each opens zip files anew.
        results = pool.map(score, pairs, chunksize=ceil(len(pairs) / (4 * workers))) if pool else map(score, pairs)
        shown = tqdm(results, desc="score", total=len(pairs), unit="image", disable=not progress)
        for pair, result in zip(pairs, shown, strict=True):
            if isinstance(result, DatasetError):
                issues.add(str(result))
                continue
            counter.add(result.counts)
            per_image[pair.ground_truth.image_id] = result.counts
            by_size.append(result.by_size)
            error_breakdown += result.error_breakdown
            wrong_areas += result.wrong_areas
    issues.raise_if_any(f"{prediction.masks} against {ground_truth.masks.path}")
    _refuse_impossible(wrong_areas, ground_truth.path)
    return FileScores(
        scores=counter.result(),
        per_image=per_image,
        by_size=tuple(by_size),
        error_breakdown=None if candidates is None else error_breakdown,
        ignored=ignored,
        empty=tuple(pair.ground_truth.image_id for pair in pairs if pair.prediction is None),
        wrong_areas=tuple(wrong_areas),
    )


def _pair_up(
    ground_truth: PanopticGroundTruth, prediction_json: Path, settings: ScoringSettings
) -> tuple[list[tuple[Annotation, Annotation | None]], tuple[ImageId, ...]]:
    """Pair the entries, in the order of the ground truth; second, the image ids without ground truth."""
    prediction = read_annotations(prediction_json, known=ground_truth.categories)
    ground_truth.categories.require_same(prediction.categories, str(prediction_json), str(ground_truth.path))
    known, predicted = ground_truth.by_image, prediction.by_image
    require_same_type(predicted, known, str(prediction_json), str(ground_truth.path))
    missing = [image_id for image_id in known if image_id not in predicted]
    if missing and not settings.missing_as_empty:
        message = f"no result for {len(missing)} of {len(known)} images (image ids {shown_ids(missing)})"
        if predicted and len(missing) == len(known):
            message += f", only for image ids {shown_ids(list(predicted), 3)}"
        raise DatasetError(f"{prediction_json}: {message}; add their results, or count them with --missing-as-empty")
    pairs = [(annotation, predicted.get(image_id)) for image_id, annotation in known.items()]
    return pairs, tuple(image_id for image_id in predicted if image_id not in known)


def _score(
    pair: ImagePair, ground_truth: FileSource, prediction: FileSource, settings: ScoringSettings, with_breakdown: bool
) -> ImageResult | DatasetError:
    """Score one image. An issue is returned, not raised, so that the other images are checked too."""
    try:
        evaluation = evaluate_pair(pair, ground_truth, prediction, settings)
    except DatasetError as error:
        return error
    try:
        counts, by_size = count_image(evaluation), count_sizes(evaluation)
        breakdown = ErrorBreakdown()
        if with_breakdown:
            breakdown = breakdown_image(evaluation.matching, find_error_pairs(evaluation))
    except DatasetError as error:
        return DatasetError(f"{ground_truth.path}: {pair.ground_truth.file_name}: {error}")
    return ImageResult(counts, by_size, breakdown, tuple(_wrong_areas(evaluation, pair.ground_truth)))


def _refuse_impossible(areas: Sequence[WrongArea], path: Path) -> None:
    if impossible := [area for area in areas if area.is_impossible]:
        segments = f"{len(impossible)} segment{'s' if len(impossible) > 1 else ''}"
        message = f"the 'area' of {segments} is too small for an IoU of at most 1 ({describe_areas(impossible)})"
        raise DatasetError(f"{path}: {message}; correct it, or leave out --panopticapi-area")


def _impossible(evaluation: ImageEvaluation) -> set[int]:
    """The ground truth segments whose claimed area makes their union with a prediction smaller than the intersection.

    panopticapi would match such a pair with an IoU above 1, infinite, or, the union being negative, not at all.
    """
    masks = evaluation.masks
    gt_class = {segment.id: segment.category_id for segment in evaluation.ground_truth.segments if not segment.is_crowd}
    predicted_class = {segment.id: segment.category_id for segment in evaluation.prediction.segments}
    return {
        pair[0]
        for pair, shared in masks.shared.items()
        if masks.union(pair) < shared and gt_class.get(pair[0]) == predicted_class[pair[1]]
    }


def _wrong_areas(evaluation: ImageEvaluation, ground_truth: Annotation) -> Iterator[WrongArea]:
    impossible = _impossible(evaluation) if evaluation.settings.panopticapi else ()
    counted = Counter[int]()
    for gt_id, pixels in zip(evaluation.overlaps.gt_ids.tolist(), evaluation.overlaps.pixels.tolist(), strict=True):
        counted[gt_id] += pixels
    for segment in ground_truth.segments:
        listed = segment.area if isinstance(segment, AnnotatedSegment) else None
        if listed is not None and listed != counted[segment.id]:
            is_impossible = segment.id in impossible
            yield WrongArea(ground_truth.image_id, segment.id, listed, counted[segment.id], is_impossible)
