"""Runs as one FiftyOne dataset: a sample for every image and variant, the same samples when loaded again.

The first run has the plain fields (`ground_truth`, `prediction`, `pq`, ...); those of every further run end in
`_NAME`. Things are `Detections` whose masks are files, stuff is a `Segmentation` whose mask is one, and the outcomes
of stuff, which a `Segmentation` has no place for, are the boxes of `ground_truth_stuff_segments` and
`prediction_stuff_segments`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pipelines.browse.run_files import Category, Image, Run, Segment

SIDES = ("ground_truth", "prediction")
MISTAKES = ("wrong_class", "localization", "spurious")
MISSES = ("merging", "wrong_class", "localization", "missed")
SMALL_AREA = 32**2
"""COCO's bound of small things, in pixels."""

_COUNTS = ("tp", "fp", "fn", "small_things_missed")
_FORMAT = 1  # of the fields below
_BATCH = 256
# FiftyOne gives no types.
Dataset = Any
Document = Any


@dataclass(frozen=True)
class NamedRun:
    """A run, and what its fields end in: nothing for the first."""

    name: str
    suffix: str
    run: Run


def name_runs(runs: Mapping[str, Run]) -> list[NamedRun]:
    """By their names; the first is the one that the others are compared with."""
    return [NamedRun(name, f"_{name}" if number else "", run) for number, (name, run) in enumerate(runs.items())]


def load(fiftyone: ModuleType, name: str, runs: Sequence[NamedRun]) -> Dataset:
    """The dataset `name` with exactly what the runs hold; unchanged runs are not loaded again.

    A sample keeps its id and its tags, and so do labels, for as long as their image and segment exist.
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
        images = run.run.images()
        while batch := [image for _, image in zip(range(_BATCH), images, strict=False)]:
            _load_batch(fiftyone, dataset, run, batch, stored, first=number == 0)
            seen |= {image.key for image in batch}
    dataset.delete_samples([sample_id for key, sample_id in stored.items() if key not in seen])
    dataset.info["loaded"] = identity
    dataset.save()
    return dataset


def _load_batch(
    fiftyone: ModuleType, dataset: Dataset, run: NamedRun, batch: Sequence[Image], stored: dict[str, str], first: bool
) -> None:
    known = {image.key: image for image in batch if image.key in stored}
    if known:
        wanted = dataset.select([stored[key] for key in known])
        for sample in wanted.iter_samples(autosave=True):
            image = known[sample["key"]]
            tags = _label_tags(sample, run)
            changed = (_identity(fiftyone, image) if first else {}) | _fields(fiftyone, image, run, tags)
            for field, value in changed.items():
                sample[field] = value
    new = [image for image in batch if image.key not in stored]
    if new:
        samples = [fiftyone.Sample(**_identity(fiftyone, image), **_fields(fiftyone, image, run, {})) for image in new]
        ids = dataset.add_samples(samples, dynamic=False, validate=False)
        stored |= {image.key: sample_id for image, sample_id in zip(new, ids, strict=True)}


def _identity(fiftyone: ModuleType, image: Image) -> dict[str, object]:
    """What does not depend on the run."""
    return {
        "filepath": str(image.path),
        "key": image.key,
        "image_id": image.image_id,
        "file_name": image.file_name,
        "corruption": image.corruption,
        "severity": image.severity,
        "metadata": fiftyone.ImageMetadata(width=image.width, height=image.height),
    }


def _fields(fiftyone: ModuleType, image: Image, run: NamedRun, tags: Mapping[str, list[str]]) -> dict[str, object]:
    """Everything that one run says of an image."""
    categories, suffix = run.run.categories, run.suffix
    mistakes = [segment for segment in image.segments["prediction"] if segment.outcome in MISTAKES]
    things_missed = [
        segment
        for segment in image.segments["ground_truth"]
        if segment.outcome in MISSES and categories[segment.category_id].is_thing
    ]
    confidences = [
        segment.score for segment in mistakes if segment.score is not None and categories[segment.category_id].is_thing
    ]
    confusions = sorted(
        f"{categories[segment.other_category_id].name} -> {categories[segment.category_id].name}"
        for segment in mistakes
        if segment.outcome == "wrong_class" and segment.other_category_id is not None
    )
    fields: dict[str, object] = {
        **image.numbers,
        **{f"lost_{kind}": share for kind, share in image.lost.items()},
        "most_confident_mistake": max(confidences, default=None),
        "small_things_missed": sum(segment.area < SMALL_AREA for segment in things_missed),
        "confusions": confusions,
        "overlay": str(image.overlay),
    }
    for side in SIDES:
        for field, of_things in ((side, True), (f"{side}_stuff_segments", False)):
            labels = [
                _detection(fiftyone, image, run, side, segment, tags)
                for segment in image.segments[side]
                if categories[segment.category_id].is_thing == of_things
            ]
            fields[field] = fiftyone.Detections(detections=labels)
        label_id = _label_id(image, run, side, 0)
        mask = str(image.stuff[side])
        fields[f"{side}_stuff"] = fiftyone.Segmentation(id=label_id, mask_path=mask, tags=tags.get(label_id, []))
    return {f"{field}{suffix}": value for field, value in fields.items()}


def _detection(
    fiftyone: ModuleType, image: Image, run: NamedRun, side: str, segment: Segment, tags: Mapping[str, list[str]]
) -> Document:
    categories, other = run.run.categories, segment.other_category_id
    label_id = _label_id(image, run, side, segment.id)
    return fiftyone.Detection(
        id=label_id,
        tags=tags.get(label_id, []),
        label=categories[segment.category_id].name,
        bounding_box=list(segment.box),
        mask_path=None if segment.mask is None else str(segment.mask),
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


def _label_id(image: Image, run: NamedRun, side: str, segment_id: int) -> str:
    """The same id for the same segment, whenever it is loaded."""
    text = f"{image.key}/{run.suffix}/{side}/{segment_id}"
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _label_tags(sample: Document, run: NamedRun) -> dict[str, list[str]]:
    """Tags that a person gave to labels, by label id."""
    labels: list[Document] = []
    for side in SIDES:
        for field in (f"{side}{run.suffix}", f"{side}_stuff_segments{run.suffix}"):
            labels += sample[field].detections if sample.has_field(field) and sample[field] is not None else []
        stuff = f"{side}_stuff{run.suffix}"
        labels += [sample[stuff]] if sample.has_field(stuff) and sample[stuff] is not None else []
    return {label.id: list(label.tags) for label in labels if label.tags}


def _declare(fiftyone: ModuleType, dataset: Dataset, runs: Sequence[NamedRun]) -> None:
    """Every field with its type, so that the App can filter by each; fields of other runs go."""
    text, integer, real = fiftyone.StringField, fiftyone.IntField, fiftyone.FloatField
    wanted: dict[str, Any] = {"key": text, "image_id": integer, "file_name": text, "corruption": text}
    wanted["severity"] = integer
    masks: dict[str, dict[int, str]] = {}
    for run in runs:
        for name in _number_fields(next(run.run.images(), None)):
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
    for path, kind in wanted.items():
        if path in present:
            continue
        if kind in (fiftyone.Detections, fiftyone.Segmentation):
            dataset.add_sample_field(path, fiftyone.EmbeddedDocumentField, embedded_doc_type=kind)
        else:
            dataset.add_sample_field(path, kind)
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


def _number_fields(example: Image | None) -> Iterator[str]:
    if example is not None:
        yield from (*example.numbers, *(f"lost_{kind}" for kind in example.lost))
        yield from ("most_confident_mistake", "small_things_missed")


def color_of(category: Category) -> str:
    return "#{:02x}{:02x}{:02x}".format(*category.color)
