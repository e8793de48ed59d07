"""Inspecting one split, whatever is wrong with it: its parts, its JSON, and every image."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from panoptic.datasets.layout import IMAGE_SUFFIXES, SplitFiles, is_litter
from panoptic.io.errors import DatasetError
from panoptic.io.files import checked_name, open_files
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
    image_names = _names(files.images, split, issues)
    mask_names = _names(files.masks, split, issues)
    images = [_with_present_files(image, files, image_names, mask_names, split, issues) for image in annotations.images]
    issues += _unlisted(annotations, files, image_names, mask_names)

    stuff = (
        frozenset(category.id for category in annotations.categories.stuff) if annotations.categories else frozenset()
    )
    source = Source(
        split, None if image_names is None else files.images, None if mask_names is None else files.masks, stuff
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


def _names(path: Path, split: str, issues: list[Issue]) -> frozenset[str] | None:
    """List the files of a part; returns None and adds an issue if it is missing or damaged."""
    try:
        return frozenset(open_files(path).names())
    except (DatasetError, OSError) as error:
        issues.append(Issue("part-missing", split, str(path), what_was_found(DatasetError(error), str(path))))
        return None


def _with_present_files(
    image: JsonImage,
    files: SplitFiles,
    images: frozenset[str] | None,
    masks: frozenset[str] | None,
    split: str,
    issues: list[Issue],
) -> JsonImage:
    """Return the image without the names of missing files, and add an issue for each."""

    def present(name: str | None, path: Path, names: frozenset[str] | None, missing: str) -> str | None:
        if name is None or names is None or name in names:
            return name
        try:
            checked_name(name, path)
        except DatasetError:
            issues.append(Issue("name-leaves-folder", split, str(path), f"{name!r}", image.image_id))
        else:
            issues.append(Issue(missing, split, f"{path}: {name}", _similar(name, names), image.image_id))
        return None

    return replace(
        image,
        file_name=present(image.file_name, files.images, images, "image-missing"),
        mask_name=present(image.mask_name, files.masks, masks, "png-missing"),
    )


def _similar(name: str, names: frozenset[str]) -> str:
    """Say that a file is missing, and whether there is one with another suffix."""
    stem = name.rpartition(".")[0]
    others = [f"{stem}{suffix}" for suffix in (*IMAGE_SUFFIXES, *map(str.upper, IMAGE_SUFFIXES))]
    found = next((other for other in others if other in names), None)
    return f"there is no such file, but '{found}' is there" if found else "there is no such file"


def _unlisted(
    annotations: SplitAnnotations, files: SplitFiles, images: frozenset[str] | None, masks: frozenset[str] | None
) -> Iterator[Issue]:
    """Report files that the JSON does not name."""
    for issue_type, path, names, listed in (
        ("image-unlisted", files.images, images, {image.file_name for image in annotations.images}),
        ("png-unlisted", files.masks, masks, {image.mask_name for image in annotations.images}),
    ):
        for name in sorted((names or frozenset()) - listed):
            if name.lower().endswith(IMAGE_SUFFIXES) and not is_litter(name):
                yield Issue(issue_type, annotations.split, f"{path}: {name}", "the JSON does not name it")


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
