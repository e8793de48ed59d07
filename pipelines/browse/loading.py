"""Runs as one FiftyOne dataset: a sample for every image and variant, which stays the same when loaded again.

The first run has the plain fields (`ground_truth`, `prediction`, `pq`, ...); those of every further run end in
`_NAME`. Things are `Detections` whose masks are files, and stuff is a `Segmentation` whose mask is one. A
`Segmentation` cannot hold the outcomes of stuff segments: these are the boxes of `ground_truth_stuff_segments` and
`prediction_stuff_segments`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from types import ModuleType
from typing import Any

from panoptic.error_browser.entries import FALSE_NEGATIVES, FALSE_POSITIVES, SIDES, BrowserEntry, SegmentEntry
from pipelines.browse.run_files import Category, Run

SMALL_AREA = 32**2
"""COCO's bound of small things, in pixels."""

_COUNTS = ("tp", "fp", "fn", "small_things_missed")
_NUMBERS = ("pq", "boundary_pq", "pq_lost_to_corruption", "tp", "fp", "fn")
_FORMAT = 2  # of the fields below
_BATCH = 256
# FiftyOne gives no types.
Dataset = Any
Document = Any


@dataclass(frozen=True)
class NamedRun:
    """A run, and the suffix of its fields, which is empty for the first."""

    name: str
    suffix: str
    run: Run


def name_runs(runs: Mapping[str, Run]) -> list[NamedRun]:
    """Name the runs; the first is the one that the others are compared with."""
    return [NamedRun(name, f"_{name}" if number else "", run) for number, (name, run) in enumerate(runs.items())]


def load(fiftyone: ModuleType, name: str, runs: Sequence[NamedRun]) -> Dataset:
    """Load the runs into the dataset `name`, which then holds exactly them; unchanged runs are not loaded again.

    Samples and labels keep their ids and tags for as long as their image and segment exist.
    """
    identity = json.dumps([_FORMAT, [[run.name, run.run.digest, str(run.run.files)] for run in runs]])
    dataset = fiftyone.load_dataset(name) if fiftyone.dataset_exists(name) else fiftyone.Dataset(name, persistent=True)
    if dataset.info.get("loaded") == identity:
        return dataset
    dataset.info["loaded"] = None
    dataset.save()
    _declare(fiftyone, dataset, runs)
    stored = dict(zip(*dataset.values(["key", "id"]), strict=True))
    seen: set[str] = set()
    for number, run in enumerate(runs):
        entries = run.run.entries()
        while batch := {sample_key(entry): entry for entry in islice(entries, _BATCH)}:
            _load_batch(fiftyone, dataset, run, batch, stored, first=number == 0)
            seen |= batch.keys()
    dataset.delete_samples([sample_id for key, sample_id in stored.items() if key not in seen])
    dataset.info["loaded"] = identity
    dataset.save()
    return dataset


def sample_key(entry: BrowserEntry) -> str:
    """The key of a sample; sorted, a clean image comes before its variants."""
    return f"{entry.image_id}/{f'{entry.corruption}/{entry.severity}' if entry.severity else 0}"


def _load_batch(
    fiftyone: ModuleType,
    dataset: Dataset,
    run: NamedRun,
    batch: Mapping[str, BrowserEntry],
    stored: dict[str, str],
    first: bool,
) -> None:
    known = {key: entry for key, entry in batch.items() if key in stored}
    if known:
        wanted = dataset.select([stored[key] for key in known])
        for sample in wanted.iter_samples(autosave=True):
            entry = known[sample["key"]]
            tags = _label_tags(sample, run)
            changed = (_identity(fiftyone, entry, run) if first else {}) | _fields(fiftyone, entry, run, tags)
            for field, value in changed.items():
                sample[field] = value
    new = {key: entry for key, entry in batch.items() if key not in stored}
    if new:
        samples = [
            fiftyone.Sample(**_identity(fiftyone, entry, run), **_fields(fiftyone, entry, run, {}))
            for entry in new.values()
        ]
        stored |= zip(new, dataset.add_samples(samples, dynamic=False, validate=False), strict=True)


def _identity(fiftyone: ModuleType, entry: BrowserEntry, run: NamedRun) -> dict[str, object]:
    """The fields that are the same for all runs."""
    return {
        "filepath": str(run.run.image_path(entry)),
        "key": sample_key(entry),
        "image_id": entry.image_id,
        "file_name": entry.file_name,
        "corruption": entry.corruption,
        "severity": entry.severity,
        "metadata": fiftyone.ImageMetadata(width=entry.width, height=entry.height),
    }


def _fields(
    fiftyone: ModuleType, entry: BrowserEntry, run: NamedRun, tags: Mapping[str, list[str]]
) -> dict[str, object]:
    """The fields of one run."""
    categories, suffix = run.run.categories, run.suffix
    mistakes = [segment for segment in entry.prediction if segment.outcome in FALSE_POSITIVES]
    things_missed = [
        segment
        for segment in entry.ground_truth
        if segment.outcome in FALSE_NEGATIVES and categories[segment.category_id].is_thing
    ]
    confidences = [
        segment.score for segment in mistakes if segment.score is not None and categories[segment.category_id].is_thing
    ]
    confusions = sorted(
        f"{categories[segment.other_category_id].name} -> {categories[segment.category_id].name}"
        for segment in mistakes
        if segment.outcome == "classification" and segment.other_category_id is not None
    )
    fields: dict[str, object] = {
        **{name: getattr(entry, name) for name in _NUMBERS},
        **{f"pq_loss_{error}": loss for error, loss in entry.pq_loss.items()},
        "most_confident_mistake": max(confidences, default=None),
        "small_things_missed": sum(segment.area < SMALL_AREA for segment in things_missed),
        "confusions": confusions,
        "overlay": str(run.run.files / entry.overlay),
    }
    for side in SIDES:
        for field, of_things in ((side, True), (f"{side}_stuff_segments", False)):
            labels = [
                _detection(fiftyone, entry, run, side, segment, tags)
                for segment in entry.segments[side]
                if categories[segment.category_id].is_thing == of_things
            ]
            fields[field] = fiftyone.Detections(detections=labels)
        label_id = _label_id(entry, run, side, 0)
        mask = str(run.run.files / getattr(entry, f"stuff_{side}"))
        fields[f"{side}_stuff"] = fiftyone.Segmentation(id=label_id, mask_path=mask, tags=tags.get(label_id, []))
    return {f"{field}{suffix}": value for field, value in fields.items()}


def _detection(
    fiftyone: ModuleType,
    entry: BrowserEntry,
    run: NamedRun,
    side: str,
    segment: SegmentEntry,
    tags: Mapping[str, list[str]],
) -> Document:
    categories, other = run.run.categories, segment.other_category_id
    label_id = _label_id(entry, run, side, segment.id)
    left, top, width, height = segment.box_xywh
    return fiftyone.Detection(
        id=label_id,
        tags=tags.get(label_id, []),
        label=categories[segment.category_id].name,
        bounding_box=[left / entry.width, top / entry.height, width / entry.width, height / entry.height],
        mask_path=None if segment.mask is None else str(run.run.files / segment.mask),
        confidence=segment.score,
        outcome=segment.outcome,
        iou=segment.iou,
        boundary_iou=segment.boundary_iou,
        area=segment.area,
        segment_id=segment.id,
        other_label=None if other is None else categories[other].name,
        other_segment_id=segment.other_id,
        iscrowd=int(segment.is_crowd),
    )


def _label_id(entry: BrowserEntry, run: NamedRun, side: str, segment_id: int) -> str:
    """The id of a label, which is the same for the same segment whenever it is loaded."""
    text = f"{sample_key(entry)}/{run.suffix}/{side}/{segment_id}"
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _label_tags(sample: Document, run: NamedRun) -> dict[str, list[str]]:
    """Tags that a person has given to labels, by label id."""
    labels: list[Document] = []
    for side in SIDES:
        for field in (f"{side}{run.suffix}", f"{side}_stuff_segments{run.suffix}"):
            labels += sample[field].detections if sample.has_field(field) and sample[field] is not None else []
        stuff = f"{side}_stuff{run.suffix}"
        labels += [sample[stuff]] if sample.has_field(stuff) and sample[stuff] is not None else []
    return {label.id: list(label.tags) for label in labels if label.tags}


def _declare(fiftyone: ModuleType, dataset: Dataset, runs: Sequence[NamedRun]) -> None:
    """Declare every field with its type, so that the App can filter by each, and delete the fields of other runs."""
    text, integer, real = fiftyone.StringField, fiftyone.IntField, fiftyone.FloatField
    example = next(runs[0].run.entries(), None)
    image_id = text if example is not None and isinstance(example.image_id, str) else integer
    wanted: dict[str, Any] = {"key": text, "image_id": image_id, "file_name": text, "corruption": text}
    wanted["severity"] = integer
    masks: dict[str, dict[int, str]] = {}
    for run in runs:
        for name in _number_fields(next(run.run.entries(), None)):
            wanted[f"{name}{run.suffix}"] = integer if name in _COUNTS else real
        wanted[f"overlay{run.suffix}"] = text
        for side in SIDES:
            for field in (f"{side}{run.suffix}", f"{side}_stuff_segments{run.suffix}"):
                wanted[field] = fiftyone.Detections
                wanted |= {f"{field}.detections.{name}": text for name in ("outcome", "other_label")}
                wanted |= {f"{field}.detections.{name}": real for name in ("iou", "boundary_iou")}
                names = ("area", "segment_id", "other_segment_id", "iscrowd")
                wanted |= {f"{field}.detections.{name}": integer for name in names}
            wanted[f"{side}_stuff{run.suffix}"] = fiftyone.Segmentation
            masks[f"{side}_stuff{run.suffix}"] = {
                category.label: category.name for category in run.run.categories.values() if not category.is_thing
            }
    present = dataset.get_field_schema(flat=True)
    if not isinstance(present.get("image_id", image_id()), image_id):  # of runs on another dataset
        dataset.delete_sample_field("image_id")
        present = dataset.get_field_schema(flat=True)
    for path, field_type in wanted.items():
        if path in present:
            continue
        if field_type in (fiftyone.Detections, fiftyone.Segmentation):
            dataset.add_sample_field(path, fiftyone.EmbeddedDocumentField, embedded_doc_type=field_type)
        else:
            dataset.add_sample_field(path, field_type)
    for run in runs:
        if f"confusions{run.suffix}" not in present:
            dataset.add_sample_field(f"confusions{run.suffix}", fiftyone.ListField, subfield=text)
    kept = {path.partition(".")[0] for path in wanted} | {f"confusions{run.suffix}" for run in runs}
    own = dataset.info.get("fields", [])
    gone = [field for field in own if field not in kept and field in present]
    if gone:
        dataset.delete_sample_fields(gone)
    dataset.info["fields"] = sorted(kept)
    dataset.mask_targets = masks
    dataset.create_index("key", unique=True)
    dataset.save()


def _number_fields(example: BrowserEntry | None) -> Iterator[str]:
    if example is not None:
        yield from (*_NUMBERS, *(f"pq_loss_{error}" for error in example.pq_loss))
        yield from ("most_confident_mistake", "small_things_missed")


def color_of(category: Category) -> str:
    return "#{:02x}{:02x}{:02x}".format(*category.color)
