"""Inspecting one image: the outcomes of its segments, and the small files that show them."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic.data.reader import PanopticReader
from panoptic.error_browser.entries import CLEAN, BrowserEntry, SegmentEntry
from panoptic.error_browser.outcomes import SegmentOutcome, image_pq_loss, segment_outcomes
from panoptic.error_browser.predictions import Predictions
from panoptic.evaluation.error_breakdown import breakdown_image
from panoptic.evaluation.error_pairs import find_error_pairs
from panoptic.evaluation.image import ImagePair, ScoringSettings, SegmentedImage, evaluate_pair
from panoptic.evaluation.panoptic_quality import Matching
from panoptic.evaluation.scores import ClassQuality, count_by_class, mean_of_known
from panoptic.format.annotations import Annotation
from panoptic.format.categories import CategoryTable
from panoptic.format.image_id import ImageId, file_stem
from panoptic.format.segments import AnnotatedSegment, Extent, SegmentLabel, measure_segments
from panoptic.index import ImageRecord
from panoptic.io.files import opened_files
from panoptic.io.folder import Folder
from panoptic.robustness.corrupted_split import corrupted_images
from panoptic.robustness.corruptions import Variant
from panoptic.visualization import painted

_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 90)  # for viewing; nothing is measured in it


@dataclass(frozen=True)
class ImageToInspect:
    """An image with its `predictions`; `variant` says how to corrupt it.

    `record` is that of the clean image, which has the segments. `keep` says to store the image itself, too; so is every
    image whose file a browser would show in another way than it is read.
    """

    record: ImageRecord
    predictions: Predictions
    variant: Variant | None = None
    keep: bool = False


@dataclass(frozen=True)
class Inspected:
    """The entry of an image, and the contents of its files by their names."""

    entry: BrowserEntry
    files: dict[str, bytes]


def image_key(image_id: ImageId, corruption: str, severity: int) -> str:
    """Name the folder of an image's files in the archive."""
    return f"{file_stem(image_id)}/{corruption.replace(':', '.')}_{severity}"


def inspect_image(item: ImageToInspect, reader: PanopticReader, boundary_ratio: float) -> Inspected:
    """Evaluate one image and draw its files. Raises `DatasetError` for PNGs that do not agree with the JSON."""
    record, predictions, categories = item.record, item.predictions, reader.index.categories
    evaluation = evaluate_pair(
        ImagePair(
            Annotation(record.image_id, record.mask_name, record.segments),
            predictions.by_image[record.image_id],
            predictions.candidates.get(record.image_id, ()),
        ),
        opened_files(reader.index.masks),
        opened_files(predictions.masks),
        ScoringSettings(boundary_ratio),
    )
    errors = find_error_pairs(evaluation)
    outcomes = segment_outcomes(evaluation, errors)
    total = sum(count_by_class(evaluation.matching).values(), ClassQuality())
    image = reader.image(record)
    if item.variant is not None:
        (image,) = corrupted_images(reader, item.variant, [record])

    corruption, severity = (item.variant.corruption, item.variant.severity) if item.variant else (CLEAN, 0)
    key = image_key(record.image_id, corruption, severity)
    overlay = painted(image, evaluation.prediction.ids, evaluation.prediction.segments, categories)
    files = {f"{key}/overlay.jpg": _jpeg(overlay)}
    keep = item.keep or not reader.shown_as_read(record)
    if keep:
        files[f"{key}/image.jpg"] = _jpeg(image)
    gt_entries, gt_files = _draw(f"{key}/ground_truth", evaluation.ground_truth, outcomes.ground_truth, categories)
    entries, own_files = _draw(f"{key}/prediction", evaluation.prediction, outcomes.prediction, categories)
    entry = BrowserEntry(
        image_id=record.image_id,
        file_name=record.file_name,
        corruption=corruption,
        severity=severity,
        image=None if keep else _loose_image(reader, record),
        height=record.height,
        width=record.width,
        pq=_image_quality(evaluation.matching),
        boundary_pq=_image_quality(evaluation.boundary_matching) if boundary_ratio else None,
        pq_lost_to_corruption=None,
        tp=total.tp,
        fp=total.fp,
        fn=total.fn,
        pq_loss=image_pq_loss(breakdown_image(evaluation.matching, errors)),
        stuff_ground_truth=f"{key}/ground_truth_stuff.png",
        stuff_prediction=f"{key}/prediction_stuff.png",
        overlay=f"{key}/overlay.jpg",
        ground_truth=gt_entries,
        prediction=entries,
    )
    return Inspected(entry, files | gt_files | own_files)


def _loose_image(reader: PanopticReader, record: ImageRecord) -> str:
    """The path of an image that is no part of an archive."""
    images = opened_files(reader.index.images)
    assert isinstance(images, Folder)
    return images.path_of(record.file_name).as_posix()


def _draw(
    prefix: str, side: SegmentedImage, outcomes: Sequence[SegmentOutcome], categories: CategoryTable
) -> tuple[tuple[SegmentEntry, ...], dict[str, bytes]]:
    """The entries of one side, and its files: a map of stuff and the mask of each thing."""
    extents = measure_segments(side.ids)
    files = {f"{prefix}_stuff.png": _png(_stuff_labels(side.ids, side.segments, categories))}
    things = [segment.id for segment in side.segments if categories.by_id(segment.category_id).is_thing]
    masks = {thing: f"{prefix}_{thing}.png" for thing in things}
    files |= {name: _png(_crop(side.ids, thing, extents[thing])) for thing, name in masks.items()}
    entries = tuple(
        _segment(segment, outcome, extents[segment.id], masks.get(segment.id))
        for segment, outcome in zip(side.segments, outcomes, strict=True)
    )
    return entries, files


def _segment(segment: SegmentLabel, outcome: SegmentOutcome, extent: Extent, mask: str | None) -> SegmentEntry:
    return SegmentEntry(
        id=segment.id,
        category_id=segment.category_id,
        outcome=outcome.outcome,
        iou=outcome.iou,
        boundary_iou=outcome.boundary_iou,
        other_id=outcome.other_id,
        other_category_id=outcome.other_category_id,
        is_crowd=segment.is_crowd,
        score=segment.score if isinstance(segment, AnnotatedSegment) else None,
        area=extent.area,
        box_xywh=extent.box_xywh,
        mask=mask,
    )


def _image_quality(matching: Matching) -> float | None:
    """The mean over the classes that occur in the image."""
    return mean_of_known([count.pq for count in count_by_class(matching).values()])


def _stuff_labels(
    ids: NDArray[np.int32], segments: Sequence[SegmentLabel], categories: CategoryTable
) -> NDArray[np.uint8 | np.uint16]:
    """(H,W) the label of the class plus 1 where stuff is, else 0."""
    labels = np.zeros(ids.shape, np.uint8 if len(categories) < 256 else np.uint16)
    for segment in segments:
        if not categories.by_id(segment.category_id).is_thing:
            labels[ids == segment.id] = categories.label_of(segment.category_id) + 1
    return labels


def _crop(ids: NDArray[np.int32], segment_id: int, extent: Extent) -> NDArray[np.uint8]:
    """(h,w) 255 inside the segment, cropped to its box."""
    left, top, width, height = extent.box_xywh
    return np.asarray(255 * (ids[top : top + height, left : left + width] == segment_id), np.uint8)


def _png(image: NDArray[np.uint8 | np.uint16]) -> bytes:
    done, data = cv2.imencode(".png", image)
    assert done
    return data.tobytes()


def _jpeg(rgb: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), _JPEG)
    assert done
    return data.tobytes()
