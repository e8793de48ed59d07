"""Inspecting one split, whatever is wrong with it: its parts, its JSON, and every image."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from panoptic.datasets.layout import SplitFiles, describe_left_out, is_image
from panoptic.io.errors import DatasetError
from panoptic.io.files import open_files
from panoptic.io.folder import describe_unusable
from panoptic.io.names import NameTable, checked_name
from panoptic.runtime.parallel import map_ahead
from panoptic.tools.check.annotations import JsonImage, SplitAnnotations, read_split_annotations
from panoptic.tools.check.image import Source, inspect_images
from panoptic.tools.check.issues import Issue, what_was_found
from panoptic.tools.check.summary import SplitSummary

# Images per task of a worker: sending them should cost little compared with inspecting them.
_BATCH = 16


@dataclass(frozen=True)
class SplitCheck:
    """The findings about a split. `digests` are those of its image files, by image id."""

    split: str
    files: SplitFiles
    annotations: SplitAnnotations
    summary: SplitSummary
    issues: tuple[Issue, ...]
    digests: dict[int, bytes]

    def where_is(self, image: JsonImage) -> str:
        """The path of an image, for a message."""
        return f"{self.files.images}: {image.file_name}"


def check_split(split: str, files: SplitFiles, pool: Executor | None, workers: int, progress: bool) -> SplitCheck:
    """Inspect a split; nothing in it raises an error. `pool` has `workers` processes."""
    annotations = read_split_annotations(split, files.panoptic_json)
    issues: list[Issue] = []
    image_table = _table(files.images, split, issues)
    mask_table = _table(files.masks, split, issues)
    images = [_with_present_files(image, files, image_table, mask_table, split, issues) for image in annotations.images]
    issues += _unlisted(annotations, files, image_table, mask_table)

    stuff = (
        frozenset(category.id for category in annotations.categories.stuff) if annotations.categories else frozenset()
    )
    source = Source(
        split, None if image_table is None else files.images, None if mask_table is None else files.masks, stuff
    )
    summary = SplitSummary(split)
    digests: dict[int, bytes] = {}
    with tqdm(total=len(images), desc=f"check {split}", unit="image", disable=not progress) as bar:
        for batch in map_ahead(pool, partial(inspect_images, source), _batches(images), 2 * workers):
            for inspected in batch:
                summary.add(inspected)
                issues += inspected.issues
                if inspected.digest:
                    digests[inspected.image_id] = inspected.digest
            bar.update(len(batch))
    checked = SplitCheck(split, files, annotations, summary, (*annotations.issues, *issues), digests)
    return replace(checked, issues=(*checked.issues, *_duplicates(checked)))


def _table(path: Path, split: str, issues: list[Issue]) -> NameTable[object] | None:
    """List the files of a part; returns None and adds an issue if it is missing or damaged."""
    try:
        return open_files(path).table
    except (DatasetError, OSError) as error:
        issues.append(Issue("part-missing", split, str(path), what_was_found(DatasetError(error), str(path))))
        return None


def _with_present_files(
    image: JsonImage,
    files: SplitFiles,
    images: NameTable[object] | None,
    masks: NameTable[object] | None,
    split: str,
    issues: list[Issue],
) -> JsonImage:
    """Return the image without the names of missing files, and add an issue for each."""

    def present(name: str | None, path: Path, table: NameTable[object] | None, missing: str) -> str | None:
        if name is None or table is None:
            return name
        try:
            checked_name(name, path)
        except DatasetError:
            issues.append(Issue("name-leaves-folder", split, str(path), f"{name!r}", image.image_id))
            return None
        try:
            if table.find(name) is not None:
                return name
            found = describe_unusable(path / name) or f"there is no such file{table.describe_similar(name)}"
        except DatasetError as error:
            found = what_was_found(error, str(path))
        issues.append(Issue(missing, split, f"{path}: {name}", found, image.image_id))
        return None

    return replace(
        image,
        file_name=present(image.file_name, files.images, images, "image-missing"),
        mask_name=present(image.mask_name, files.masks, masks, "png-missing"),
    )


def _unlisted(
    annotations: SplitAnnotations,
    files: SplitFiles,
    images: NameTable[object] | None,
    masks: NameTable[object] | None,
) -> Iterator[Issue]:
    """Report files that the JSON does not name, and those that are no images."""
    for issue_type, path, table, listed in (
        ("image-unlisted", files.images, images, {image.file_name for image in annotations.images}),
        ("png-unlisted", files.masks, masks, {image.mask_name for image in annotations.images}),
    ):
        if table is None:
            continue
        unlisted = set(table.names).difference(_found(table, listed))
        for name in sorted(filter(is_image, unlisted)):
            yield Issue(issue_type, annotations.split, f"{path}: {name}", "the JSON does not name it")
        for left_out in describe_left_out(unlisted):
            yield Issue("files-left-out", annotations.split, str(path), left_out)


def _found(table: NameTable[object], names: Iterable[str | None]) -> Iterator[str]:
    for name in names:
        try:
            found = table.find(name) if name is not None else None
        except DatasetError:  # reported with the image
            continue
        if found is not None:
            yield found


def _duplicates(checked: SplitCheck) -> Iterator[Issue]:
    """Report images of one split with equal content under different names."""
    first: dict[bytes, JsonImage] = {}
    for image in checked.annotations.images:
        digest = checked.digests.get(image.image_id)
        if digest is None:
            continue
        other = first.setdefault(digest, image)
        if other.file_name != image.file_name:
            found = f"the same as '{other.file_name}' (image id {other.image_id})"
            yield Issue("image-duplicate", checked.split, checked.where_is(image), found, image.image_id)


def _batches(images: Sequence[JsonImage]) -> Iterator[Sequence[JsonImage]]:
    for start in range(0, len(images), _BATCH):
        yield images[start : start + _BATCH]
