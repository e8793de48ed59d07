"""Runs as one FiftyOne dataset: a sample for every image and variant, which stays the same when loaded again.

The first run has the plain fields (`ground_truth`, `prediction`, `pq`, ...); those of every further run end in
`_NAME`. `summary` is what the App writes on an image. A `Segmentation` cannot hold the outcomes of stuff segments:
these are the boxes of `ground_truth_stuff_segments` and `prediction_stuff_segments`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from types import ModuleType
from typing import Any

from panoptic.error_browser.entries import FALSE_NEGATIVES, FALSE_POSITIVES, BrowserEntry
from pipelines.browse.labels import Document, NamedRun, label_types, list_of, make_labels, sample_key
from pipelines.browse.run_files import BrowseError

SMALL_AREA = 32**2
"""COCO's bound of small things, in pixels."""

_COUNTS = ("tp", "fp", "fn", "small_things_missed")
_NUMBERS = ("pq", "boundary_pq", "pq_lost_to_corruption", "tp", "fp", "fn")
_FORMAT = 3  # of the fields below
_FORMER = "former_"  # prefix of label fields of another format, until their tags are moved
_BATCH = 256
# FiftyOne gives no types.
Dataset = Any


def require_same_images(runs: Sequence[NamedRun]) -> None:
    """Check that all runs are of the dataset of the first, whose images the others are shown on.

    Raises:
        BrowseError: an image has another file or size in another run, or two runs have no image in common.
    """
    first, *others = runs
    images = {entry.image_id: _described(entry) for entry in first.run.entries()} if others else {}
    for other in others:
        found = {entry.image_id: _described(entry) for entry in other.run.entries()}
        common = [image_id for image_id in found if image_id in images]
        differing = [image_id for image_id in common if found[image_id] != images[image_id]]
        if common and not differing:
            continue
        what = f"image {differing[0]} is {found[differing[0]]}, not {images[differing[0]]}" if differing else "no image"
        raise BrowseError(
            f"{other.run.folder}: {what} as in {first.run.folder}; browse runs on the same dataset side by side"
        )


def _described(entry: BrowserEntry) -> str:
    return f"{entry.file_name} of {entry.width} x {entry.height} pixels"


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
    former = [field for field in dataset.get_field_schema() if field.startswith(_FORMER)]
    if former:
        dataset.delete_sample_fields(former)
    dataset.info["loaded"] = identity
    dataset.save()
    return dataset


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
            tags = _label_tags(fiftyone, sample, run)
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
    image = run.run.image_path(entry)
    try:
        metadata = fiftyone.ImageMetadata.build_for(str(image))
    except OSError as error:
        raise BrowseError(
            f"{image}: cannot be read ({error.strerror or error}); put the image back, or run `dvc repro browse` again"
        ) from None
    return {
        "filepath": str(image),
        "metadata": metadata,
        "key": sample_key(entry),
        "image_id": entry.image_id,
        "file_name": entry.file_name,
        "corruption": entry.corruption,
        "severity": entry.severity,
    }


def _fields(
    fiftyone: ModuleType, entry: BrowserEntry, run: NamedRun, tags: Mapping[str, list[str]]
) -> dict[str, object]:
    """The fields of one run."""
    categories = run.run.categories
    mistakes = [segment for segment in entry.prediction if segment.outcome in FALSE_POSITIVES]
    things_missed = [
        segment for segment in entry.ground_truth if segment.outcome in FALSE_NEGATIVES and run.is_thing(segment)
    ]
    confidences = [segment.score for segment in mistakes if segment.score is not None and run.is_thing(segment)]
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
    fields = {f"{field}{run.suffix}": value for field, value in fields.items()}
    return fields | make_labels(fiftyone, entry, run, tags)


def _label_tags(fiftyone: ModuleType, sample: Document, run: NamedRun) -> dict[str, list[str]]:
    """Tags that a person has given to labels, by label id."""
    labels: list[Document] = []
    for name in label_types(fiftyone, run):
        for field in (name, f"{_FORMER}{name}"):
            value = sample[field] if sample.has_field(field) else None
            if value is not None:
                members = list_of(fiftyone, type(value))
                labels += [value] if members is None else value[members]
    return {label.id: list(label.tags) for label in labels if label.tags}


def _declare(fiftyone: ModuleType, dataset: Dataset, runs: Sequence[NamedRun]) -> None:
    """Declare every field with its type, so that the App can filter by each, and delete the fields of other runs."""
    text, integer, real = fiftyone.StringField, fiftyone.IntField, fiftyone.FloatField
    example = next(runs[0].run.entries(), None)
    image_id = text if example is not None and isinstance(example.image_id, str) else integer
    wanted: dict[str, Any] = {"key": text, "image_id": image_id, "file_name": text, "corruption": text}
    wanted["severity"] = integer
    for run in runs:
        for name in _number_fields(next(run.run.entries(), None)):
            wanted[f"{name}{run.suffix}"] = integer if name in _COUNTS else real
        wanted[f"overlay{run.suffix}"] = text
        wanted |= _label_fields(fiftyone, run)
    _make_way(fiftyone, dataset, wanted)
    present = dataset.get_field_schema(flat=True)
    for path, field_type in wanted.items():
        if path in present:
            continue
        if issubclass(field_type, fiftyone.Label):
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
    dataset.mask_targets = {
        field: {category.label: category.name for category in run.run.categories.values() if not category.is_thing}
        for run in runs
        for field, labels in label_types(fiftyone, run).items()
        if labels is fiftyone.Segmentation
    }
    dataset.create_index("key", unique=True)
    dataset.save()


def _label_fields(fiftyone: ModuleType, run: NamedRun) -> Iterator[tuple[str, Any]]:
    """The label fields of a run and the attributes of their labels, with their types."""
    text, integer, real = fiftyone.StringField, fiftyone.IntField, fiftyone.FloatField
    segments = (
        (("outcome", "other_label"), text),
        (("iou", "boundary_iou"), real),
        (("area", "segment_id", "other_segment_id", "iscrowd"), integer),
    )
    for field, labels in label_types(fiftyone, run).items():
        yield field, labels
        if labels is not fiftyone.Segmentation:
            groups = ((("severity",), integer),) if labels is fiftyone.Classifications else segments
            for names, field_type in groups:
                yield from ((f"{field}.{list_of(fiftyone, labels)}.{name}", field_type) for name in names)


def _make_way(fiftyone: ModuleType, dataset: Dataset, wanted: Mapping[str, Any]) -> None:
    """Put fields aside that have another type: labels of another format, whose tags stay, and ids of other images."""
    present = dataset.get_field_schema()
    for path in wanted.keys() & present.keys():
        field, field_type = present[path], wanted[path]
        if isinstance(field, fiftyone.EmbeddedDocumentField):
            if field.document_type is not field_type:
                dataset.rename_sample_field(path, f"{_FORMER}{path}")
        elif not isinstance(field, field_type):
            dataset.delete_sample_field(path)


def _number_fields(example: BrowserEntry | None) -> Iterator[str]:
    if example is not None:
        yield from (*_NUMBERS, *(f"pq_loss_{error}" for error in example.pq_loss))
        yield from ("most_confident_mistake", "small_things_missed")
