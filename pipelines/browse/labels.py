"""FiftyOne's labels of an image: ground truth things as outlines, predicted ones filled, stuff as boxes.

So a thing and what was predicted for it can be told apart where they overlap, also if both have the color of the same
outcome. A label has only the attributes that have a value: the App would show the others as `None`. `summary` consists
of classifications, because the App writes nothing else on tiles as well as on opened images.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from panoptic.error_browser.entries import SIDES, BrowserEntry, SegmentEntry
from pipelines.browse.run_files import BrowseError, Run

# FiftyOne gives no types.
Document = Any
_TOLERANCE = 0.5  # pixels by which an outline may leave the border of its mask
_DIGITS = 5  # of relative coordinates: a thousandth of a pixel in an image of 100 megapixels


@dataclass(frozen=True)
class NamedRun:
    """A run, and the suffix of its fields, which is empty for the first."""

    name: str
    suffix: str
    run: Run

    def is_thing(self, segment: SegmentEntry) -> bool:
        """True if the segment is countable."""
        return self.run.categories[segment.category_id].is_thing


def name_runs(runs: Mapping[str, Run]) -> list[NamedRun]:
    """Name the runs; the first is the one that the others are compared with."""
    return [NamedRun(name, f"_{name}" if number else "", run) for number, (name, run) in enumerate(runs.items())]


def sample_key(entry: BrowserEntry) -> str:
    """The key of a sample; sorted, a clean image comes before its variants."""
    return f"{entry.image_id}/{f'{entry.corruption}/{entry.severity}' if entry.severity else 0}"


def label_types(fiftyone: ModuleType, run: NamedRun) -> dict[str, type[Document]]:
    """The label fields of a run, and the type of each."""
    types: dict[str, type[Document]] = {}
    for side in SIDES:
        types[f"{side}{run.suffix}"] = fiftyone.Polylines if side == "ground_truth" else fiftyone.Detections
        types[f"{side}_stuff_segments{run.suffix}"] = fiftyone.Detections
        types[f"{side}_stuff{run.suffix}"] = fiftyone.Segmentation
    return types | {f"summary{run.suffix}": fiftyone.Classifications}


def list_of(fiftyone: ModuleType, labels: type[Document]) -> str | None:
    """The attribute of a type of labels that lists them; None for a single label."""
    lists = {
        fiftyone.Polylines: "polylines",
        fiftyone.Detections: "detections",
        fiftyone.Classifications: "classifications",
    }
    return lists.get(labels)


def make_labels(
    fiftyone: ModuleType, entry: BrowserEntry, run: NamedRun, tags: Mapping[str, list[str]]
) -> dict[str, Document]:
    """The labels of one image, by field. `tags`: those that a person has given, by label id."""
    summary = []
    for number, text in enumerate(_summary(entry, run)):
        label_id = _label_id(entry, run, "summary", number)
        own = tags.get(label_id, [])
        summary.append(fiftyone.Classification(id=label_id, tags=own, label=text, severity=entry.severity))
    fields: dict[str, Document] = {"summary": fiftyone.Classifications(classifications=summary)}
    for side in SIDES:
        things = _outlined_things if side == "ground_truth" else filled_things
        fields[side] = things(fiftyone, entry, run, side, tags)
        stuff = [
            fiftyone.Detection(**_attributes(entry, run, side, segment, tags), bounding_box=_box(entry, segment))
            for segment in entry.segments[side]
            if not run.is_thing(segment)
        ]
        fields[f"{side}_stuff_segments"] = fiftyone.Detections(detections=stuff)
        label_id = _label_id(entry, run, side, 0)
        mask = str(run.run.files / getattr(entry, f"stuff_{side}"))
        fields[f"{side}_stuff"] = fiftyone.Segmentation(id=label_id, mask_path=mask, tags=tags.get(label_id, []))
    return {f"{field}{run.suffix}": labels for field, labels in fields.items()}


def _summary(entry: BrowserEntry, run: NamedRun) -> tuple[str, ...]:
    """Quality, as in `PQ 41.0 (-17.2)`, and corruption, as in `fog 3`; further runs give their name."""
    text = "no PQ" if entry.pq is None else f"PQ {100 * entry.pq:.1f}"
    if entry.pq_lost_to_corruption is not None:
        text += f" ({-100 * entry.pq_lost_to_corruption:+.1f})"
    if run.suffix:
        return (f"{run.name}: {text}",)
    return (text, f"{entry.corruption} {entry.severity}") if entry.severity else (text,)


def filled_things(
    fiftyone: ModuleType, entry: BrowserEntry, run: NamedRun, side: str, tags: Mapping[str, list[str]]
) -> Document:
    """Things with their masks, which stay files."""
    things = [
        fiftyone.Detection(
            **_attributes(entry, run, side, segment, tags),
            bounding_box=_box(entry, segment),
            mask_path=str(run.run.files / segment.mask),
        )
        for segment in entry.segments[side]
        if segment.mask is not None
    ]
    return fiftyone.Detections(detections=things)


def _outlined_things(
    fiftyone: ModuleType, entry: BrowserEntry, run: NamedRun, side: str, tags: Mapping[str, list[str]]
) -> Document:
    things = [
        fiftyone.Polyline(
            **_attributes(entry, run, side, segment, tags),
            points=_outline(entry, segment, run.run.files / segment.mask),
            closed=True,
            filled=False,
        )
        for segment in entry.segments[side]
        if segment.mask is not None
    ]
    return fiftyone.Polylines(polylines=things)


def _attributes(
    entry: BrowserEntry, run: NamedRun, side: str, segment: SegmentEntry, tags: Mapping[str, list[str]]
) -> dict[str, object]:
    categories, other = run.run.categories, segment.other_category_id
    label_id = _label_id(entry, run, side, segment.id)
    attributes = {
        "id": label_id,
        "tags": tags.get(label_id, []),
        "label": categories[segment.category_id].name,
        "confidence": segment.score,
        "outcome": segment.outcome,
        "other_label": None if other is None else categories[other].name,
        "iou": segment.iou,
        "boundary_iou": segment.boundary_iou,
        "area": segment.area,
        "segment_id": segment.id,
        "other_segment_id": segment.other_id,
        "iscrowd": 1 if segment.is_crowd else None,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def _label_id(entry: BrowserEntry, run: NamedRun, side: str, segment_id: int) -> str:
    """The id of a label, which is the same for the same segment whenever it is loaded."""
    text = f"{sample_key(entry)}/{run.suffix}/{side}/{segment_id}"
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _box(entry: BrowserEntry, segment: SegmentEntry) -> list[float]:
    left, top, width, height = segment.box_xywh
    return [left / entry.width, top / entry.height, width / entry.width, height / entry.height]


def _outline(entry: BrowserEntry, segment: SegmentEntry, file: Path) -> list[list[list[float]]]:
    """The borders of a thing, of its parts and holes, through the middle of their outermost pixels."""
    mask = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise BrowseError(f"{file}: not a readable PNG; delete the folder {file.parents[2]} to unpack it again")
    corner, size = np.array(segment.box_xywh[:2]) + 0.5, np.array([entry.width, entry.height])
    borders, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outline: list[list[list[float]]] = [
        ((cv2.approxPolyDP(border, _TOLERANCE, True)[:, 0] + corner) / size).round(_DIGITS).tolist()
        for border in borders
    ]
    return outline
