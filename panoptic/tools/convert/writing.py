"""Write own data in COCO's panoptic layout: all or nothing, with equal bytes for equal data."""

import hashlib
import json
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from tqdm import tqdm

from panoptic.format.id_map import encode_id_map
from panoptic.io.errors import DatasetError, Issues, shown_ids
from panoptic.io.files import naming_disk_errors, write_atomically, write_together
from panoptic.io.names import normal_name
from panoptic.io.zip_entries import add_file
from panoptic.tools.convert.classes import ClassTable
from panoptic.tools.convert.drawing import WITHOUT_AREA, AnnotatedImage, DrawnImage, draw_image
from panoptic.tools.convert.images import Images
from panoptic.tools.convert.summary import SplitSummary

_NOTE = "Written by python -m panoptic.tools.convert, which replaces this split when it is run again.\n"


class Source(Protocol):
    """Annotations of one tool: `paths` are its files and folders, `items` the names of its images in a fixed order."""

    @property
    def images(self) -> Images: ...
    @property
    def classes(self) -> ClassTable: ...
    def paths(self) -> tuple[Path, ...]: ...
    def items(self) -> Sequence[str]: ...
    def read(self, item: str, issues: Issues) -> AnnotatedImage: ...


@dataclass(frozen=True)
class SplitParts:
    """Paths of the parts of a split; `note` marks them as written by this command, which may replace them."""

    images: Path
    masks: Path
    panoptic_json: Path
    note: Path

    @classmethod
    def of(cls, root: Path, split: str) -> "SplitParts":
        annotations = root / "annotations"
        stem = annotations / f"panoptic_{split}"
        masks, panoptic_json = (stem.with_name(f"{stem.name}.{suffix}") for suffix in ("zip", "json"))
        return cls(root / split, masks, panoptic_json, annotations / f"converted_{split}.txt")


def split_randomly(items: Sequence[str], val_fraction: float, seed: int) -> dict[str, list[str]]:
    """Split the images into `train` and `val` at random; images that are added later move few of the others.

    Raises `DatasetError` for a fraction that leaves one of the two without an image.
    """
    count = round(val_fraction * len(items)) if 0 < val_fraction < 1 else 0
    if not 0 < count < len(items):
        message = f"--val-fraction {val_fraction:g} of {len(items)} images leaves a split empty"
        raise DatasetError(f"{message}; give another fraction")
    ranked = sorted(items, key=lambda item: hashlib.sha256(f"{seed}:{item}".encode()).digest())
    chosen = set(ranked[:count])
    return {"train": [item for item in items if item not in chosen], "val": [item for item in items if item in chosen]}


def write_splits(
    source: Source, splits: Mapping[str, Sequence[str]], root: Path, order: str, progress: bool = False
) -> dict[str, SplitSummary]:
    """Write splits, given as items of the source, below `root`, replacing those of an earlier run.

    Raises `DatasetError` with every issue of every image, before anything is replaced, and for parts of a split that
    were not written by this function or overlap the source.
    """
    parts = {split: SplitParts.of(root, split) for split in splits}
    for split in splits:
        _require_ours(split, parts[split])
    _require_apart(source, root, [part.images for part in parts.values()])
    issues = Issues()
    summaries: dict[str, SplitSummary] = {}
    masks_of: dict[str, str] = {}
    with write_together() as unfinished:
        for split, items in splits.items():
            images, masks = unfinished.folder(parts[split].images), unfinished.file(parts[split].masks)
            writing = _SplitWriter(source, images, masks, order, issues, masks_of)
            summaries[split] = writing.write(tqdm(items, desc=split, unit="image", disable=not progress))
            unfinished.write(parts[split].panoptic_json, writing.to_json())
        issues.raise_if_any("the annotations")
        _require_area(summaries.values())
        for part in parts.values():  # before the exchange, so that a run that is killed in it can be repeated
            write_atomically(part.note, _NOTE.encode())
    return summaries


class _SplitWriter:
    """Writes one split; `masks_of` maps the names of all masks so far, in any split, to their images."""

    def __init__(
        self, source: Source, images: Path, masks: Path, order: str, issues: Issues, masks_of: dict[str, str]
    ) -> None:
        self._source, self._images, self._masks, self._order = source, images, masks, order
        self._issues, self._masks_of = issues, masks_of
        self._listed: list[dict[str, object]] = []
        self._annotated: list[dict[str, object]] = []

    def write(self, items: "Sequence[str] | tqdm[str]") -> SplitSummary:
        """Write images and masks; after the first issue, only inspect the remaining ones."""
        summary = SplitSummary()
        categories = self._source.classes.categories
        with naming_disk_errors(self._masks), zipfile.ZipFile(self._masks, "w") as archive:
            for item in items:
                with self._issues.collected():
                    image = self._source.read(item, self._issues)
                    drawn = draw_image(image, categories, self._order)
                    self._issues.messages.extend(drawn.issues)
                    mask_name = self._mask_name(image)
                    if not self._issues.messages:
                        self._source.images.put(image.file, self._images)
                        add_file(archive, mask_name, encode_id_map(drawn.ids))
                        self._list(image, drawn, mask_name)
                        summary.add(image, drawn)
        return summary

    def to_json(self) -> bytes:
        """Encode the panoptic JSON of the split."""
        document = {
            "images": self._listed,
            "annotations": self._annotated,
            "categories": self._source.classes.categories.to_json(),
        }
        return (json.dumps(document) + "\n").encode()

    def _mask_name(self, image: AnnotatedImage) -> str:
        name = PurePosixPath(image.file.name).with_suffix(".png").as_posix()
        other = self._masks_of.setdefault(name, image.where)
        if other != image.where:
            message = f"its id map and that of {other} would both be named '{name}'"
            raise DatasetError(f"{image.where}: {message}; remove or rename one")
        return name

    def _list(self, image: AnnotatedImage, drawn: DrawnImage, mask_name: str) -> None:
        size = {"height": image.height, "width": image.width}
        self._listed.append({"id": image.image_id, "file_name": image.file.name, **size})
        segments = [segment.to_json() for segment in drawn.segments]
        self._annotated.append({"image_id": image.image_id, "file_name": mask_name, "segments_info": segments})


def _require_area(summaries: Collection[SplitSummary]) -> None:
    """Raise `DatasetError` if there are annotations, but none of them has an area."""
    left_out = [where for summary in summaries for where in summary.notes.get(WITHOUT_AREA, ())]
    if left_out and not any(summary.regions for summary in summaries):
        found = f"all {len(left_out)} shapes are points or lines, which have no area ({shown_ids(left_out, 3)})"
        raise DatasetError(f"{found}; draw polygons, rectangles, circles or masks")


def _require_ours(split: str, parts: SplitParts) -> None:
    """Raise `DatasetError` for an invalid name of a split, or one with parts that this command has not written."""
    if split in ("", ".", "..", parts.note.parent.name) or "/" in normal_name(split) or "\0" in split:
        raise DatasetError(f"'{split}' cannot be the name of a split; give a plain name such as train")
    existing = [part for part in (parts.images, parts.masks, parts.panoptic_json) if part.exists()]
    if existing and not parts.note.is_file():
        message = "exists already, and was not written by this command"
        raise DatasetError(f"{existing[0]}: {message}; remove it, or choose another --out or --split")


def _require_apart(source: Source, root: Path, replaced: Sequence[Path]) -> None:
    """Raise `DatasetError` if this run would delete its source, or the next would read the results of this one."""
    for path in (path.resolve() for path in source.paths()):
        told_apart = source.images.apart == root and path == source.images.files.path.resolve() != root.resolve()
        if path in (root.resolve(), *root.resolve().parents) and not told_apart:
            raise DatasetError(f"{root}: is inside the source, {path}; choose another --out")
        for folder in replaced:
            if folder.resolve() in (path, *path.parents):
                raise DatasetError(f"{folder}: would be replaced, but contains the source; choose another --out")
