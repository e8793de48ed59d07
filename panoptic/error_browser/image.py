"""Inspecting one image: what became of its segments, and the small files that show it."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic.data.reader import PanopticReader
from panoptic.error_browser.entries import CLEAN, BrowserEntry, SegmentEntry, image_key
from panoptic.error_browser.outcomes import SegmentOutcome, image_losses, segment_outcomes
from panoptic.error_browser.predictions import Predictions
from panoptic.evaluation.error_breakdown import breakdown_image
from panoptic.evaluation.error_pairs import candidate_ious, explain_errors, segment_pairs
from panoptic.evaluation.overlaps import count_overlaps
from panoptic.evaluation.panoptic_quality import ClassQuality, count_by_class, match_boundaries, match_overlaps
from panoptic.evaluation.scores import boundary_distance
from panoptic.format.annotations import Annotation, check_drawn
from panoptic.format.categories import CategoryTable
from panoptic.format.id_map import decode_id_map
from panoptic.format.segments import Extent, SegmentLabel, measure_segments
from panoptic.index import ImageRecord
from panoptic.io.errors import DatasetError
from panoptic.io.files import opened_files
from panoptic.robustness.corrupted_split import corrupted_images
from panoptic.robustness.corruptions import Variant
from panoptic.visualization import painted

_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 90)  # to look at; nothing is measured in it


@dataclass(frozen=True)
class ImageToInspect:
    """One image: `predictions` has it; a `variant` says how to corrupt it, `keep` to put the image itself in too.

    `record` is the clean one: it has the segments.
    """

    record: ImageRecord
    predictions: Predictions
    variant: Variant | None = None
    keep: bool = False


@dataclass(frozen=True)
class Inspected:
    """An image's line, and the contents of its files by their names."""

    entry: BrowserEntry
    files: dict[str, bytes]


def inspect(item: ImageToInspect, reader: PanopticReader, boundary_ratio: float) -> Inspected:
    """Score one image and draw what shows it. Raises `DatasetError` for PNGs that do not agree with the JSON."""
    record, predictions, categories = item.record, item.predictions, reader.index.categories
    predicted = predictions.by_image[record.image_id]
    gt_ids, ids = reader.id_map(record), _predicted_ids(record, predictions, predicted)
    height, width = gt_ids.shape
    overlaps = count_overlaps(gt_ids, ids, boundary_distance(height, width, boundary_ratio))
    matching = match_overlaps(overlaps, record.segments, predicted.segments)
    boundaries = match_boundaries(overlaps, record.segments, predicted.segments) if boundary_ratio else None
    ious = candidate_ious(gt_ids, record.segments, predictions.candidates.get(record.image_id, ()))
    pairs = segment_pairs(overlaps)
    explained = explain_errors(pairs, predicted.segments, matching)
    outcomes = segment_outcomes(pairs, record.segments, predicted.segments, matching, explained, ious)
    total = sum(count_by_class(matching).values(), ClassQuality())
    image = reader.image(record)
    if item.variant is not None:
        (image,) = corrupted_images(reader, item.variant, [record])

    corruption, severity = (item.variant.corruption, item.variant.severity) if item.variant else (CLEAN, 0)
    key = image_key(record.image_id, corruption, severity)
    files = {f"{key}/overlay.jpg": _jpeg(painted(image, ids, predicted.segments, categories))}
    if item.keep:
        files[f"{key}/image.jpg"] = _jpeg(image)
    entries = {}
    for side, side_ids, segments, side_outcomes in (
        ("ground_truth", gt_ids, record.segments, outcomes.ground_truth),
        ("prediction", ids, predicted.segments, outcomes.prediction),
    ):
        extents = measure_segments(side_ids)
        files[f"{key}/{side}_stuff.png"] = _png(_stuff_labels(side_ids, segments, categories))
        things = [segment.id for segment in segments if categories.by_id(segment.category_id).is_thing]
        masks = {thing: f"{key}/{side}_{thing}.png" for thing in things}
        files |= {name: _png(_crop(side_ids, thing, extents[thing])) for thing, name in masks.items()}
        scores = predictions.scores.get(record.image_id, {}) if side == "prediction" else {}
        entries[side] = tuple(
            _segment(segment, outcome, extents[segment.id], scores.get(segment.id), masks.get(segment.id))
            for segment, outcome in zip(segments, side_outcomes, strict=True)
        )
    entry = BrowserEntry(
        image_id=record.image_id,
        file_name=record.file_name,
        corruption=corruption,
        severity=severity,
        image=None if item.keep else (reader.index.images / record.file_name).as_posix(),
        height=height,
        width=width,
        pq=_image_quality(count_by_class(matching)),
        boundary_pq=_image_quality(count_by_class(boundaries)) if boundaries else None,
        pq_lost_to_corruption=None,
        tp=total.tp,
        fp=total.fp,
        fn=total.fn,
        lost=image_losses(breakdown_image(overlaps, predicted.segments, matching, ious)),
        stuff_ground_truth=f"{key}/ground_truth_stuff.png",
        stuff_prediction=f"{key}/prediction_stuff.png",
        overlay=f"{key}/overlay.jpg",
        ground_truth=entries["ground_truth"],
        prediction=entries["prediction"],
    )
    return Inspected(entry, files)


def _predicted_ids(record: ImageRecord, predictions: Predictions, predicted: Annotation) -> NDArray[np.int32]:
    source = opened_files(predictions.masks)
    where = f"{source.path}: {predicted.file_name}"
    ids = decode_id_map(source.read(predicted.file_name), where)
    if ids.shape != (record.height, record.width):
        sizes = f"{ids.shape[0]} x {ids.shape[1]}, but the ground truth is {record.height} x {record.width}"
        raise DatasetError(f"{where}: {sizes} (height x width); write the result at that size")
    check_drawn(measure_segments(ids).keys(), predicted, where)
    return ids


def _segment(
    segment: SegmentLabel, outcome: SegmentOutcome, extent: Extent, score: float | None, mask: str | None
) -> SegmentEntry:
    return SegmentEntry(
        id=segment.id,
        category_id=segment.category_id,
        outcome=outcome.outcome,
        iou=outcome.iou,
        boundary_iou=outcome.boundary_iou,
        other_id=outcome.other_id,
        other_category_id=outcome.other_category_id,
        is_crowd=segment.is_crowd,
        score=score,
        area=extent.area,
        box_xywh=extent.box_xywh,
        mask=mask,
    )


def _image_quality(counts: dict[int, ClassQuality]) -> float | None:
    """The mean over the classes that occur in the image."""
    qualities = [count.pq for count in counts.values() if count.pq is not None]
    return sum(qualities) / len(qualities) if qualities else None


def _stuff_labels(
    ids: NDArray[np.int32], segments: Sequence[SegmentLabel], categories: CategoryTable
) -> NDArray[np.uint8 | np.uint16]:
    """(H,W) the label of the class plus 1 where stuff is, else 0: things hide nothing of what lies behind."""
    labels = np.zeros(ids.shape, np.uint8 if len(categories) < 256 else np.uint16)
    for segment in segments:
        if not categories.by_id(segment.category_id).is_thing:
            labels[ids == segment.id] = categories.label_of(segment.category_id) + 1
    return labels


def _crop(ids: NDArray[np.int32], segment_id: int, extent: Extent) -> NDArray[np.uint8]:
    """(h,w) 255 inside the segment, cut out to its box."""
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
