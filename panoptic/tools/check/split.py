"""Inspecting one split, whatever is wrong with it: its parts, its JSON, and every image."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from panoptic.datasets.layout import SplitFiles, describe_left_out, describe_skipped, is_image
from panoptic.format.image_id import ImageId
from panoptic.io.errors import DatasetError
from panoptic.io.files import open_files
from panoptic.io.names import AmbiguousName, NameTable, checked_name
from panoptic.io.reading import describe_unusable
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
    digests: dict[ImageId, bytes]


def check_split(split: str, files: SplitFiles, pool: Executor | None, workers: int, progress: bool) -> SplitCheck:
    """Inspect a split; nothing in it raises an error. `pool` has `workers` processes."""
    annotations = read_split_annotations(split, files.panoptic_json)
    issues: list[Issue] = []
    images_part = _Part.open(split, files.images, "image-missing", "image-unlisted", issues)
    masks_part = _Part.open(split, files.masks, "png-missing", "png-unlisted", issues)
    images = [
        replace(
            image,
            file_name=images_part.present(image.file_name, image.image_id, issues),
            mask_name=masks_part.present(image.mask_name, image.image_id, issues),
        )
        for image in annotations.images
    ]
    issues += images_part.leftovers(image.file_name for image in images)
    issues += masks_part.leftovers(image.mask_name for image in images)

    stuff = frozenset(category.id for category in annotations.categories or () if not category.is_thing)
    images_path, masks_path = (None if part.table is None else part.path for part in (images_part, masks_part))
    source = Source(split, images_path, masks_path, stuff)
    summary = SplitSummary(split, stuff)
    digests: dict[ImageId, bytes] = {}
    with tqdm(total=len(images), desc=f"check {split}", unit="image", disable=not progress) as bar:
        for batch in map_ahead(pool, partial(inspect_images, source), _batches(images), 2 * workers):
            for inspected in batch:
                summary.add(inspected)
                issues += inspected.issues
                if inspected.digest:
                    digests[inspected.image_id] = inspected.digest
            bar.update(len(batch))
    return SplitCheck(split, files, annotations, summary, (*annotations.issues, *issues), digests)


@dataclass(frozen=True)
class _Part:
    """The images or the PNGs of a split, and the types of issues about them; `table` is None if they cannot be read."""

    split: str
    path: Path
    table: NameTable[object] | None
    missing: str
    unlisted: str

    @classmethod
    def open(cls, split: str, path: Path, missing: str, unlisted: str, issues: list[Issue]) -> "_Part":
        """List the files; adds an issue if they are missing or damaged."""
        try:
            files = open_files(path)
            if not path.is_dir():  # those of folders are errors, because DVC would stop at them
                skipped = describe_skipped(files)
                issues.extend(Issue("files-left-out", split, str(path), left_out) for left_out in skipped)
            return cls(split, path, files.table, missing, unlisted)
        except (DatasetError, OSError) as error:
            issues.append(Issue("part-missing", split, str(path), what_was_found(DatasetError(str(error)), str(path))))
            return cls(split, path, None, missing, unlisted)

    def present(self, name: str | None, image_id: ImageId, issues: list[Issue]) -> str | None:
        """Return the name of a file, or None and add an issue if it is missing."""
        if name is None or self.table is None:
            return name
        issue_type, where = self.missing, f"{self.path}: {name}"
        try:
            checked_name(name, self.path)
            if self.table.find(name) is not None:
                return name
            found = describe_unusable(self.path / name) or "there is no such file"
        except AmbiguousName as error:
            found = what_was_found(error, str(self.path))
        except DatasetError:
            issue_type, where, found = "name-leaves-folder", str(self.path), f"{name!r}"
        issues.append(Issue(issue_type, self.split, where, f"{found}{self.table.describe_similar(name)}", image_id))
        return None

    def leftovers(self, listed: Iterable[str | None]) -> Iterator[Issue]:
        """Report files that the JSON does not name, and those that are no images; `listed` are present."""
        if self.table is None:
            return
        unlisted = set(self.table.names).difference(self.table.find(name) for name in listed if name is not None)
        for name in sorted(filter(is_image, unlisted)):
            yield Issue(self.unlisted, self.split, f"{self.path}: {name}", "the JSON does not name it")
        for left_out in describe_left_out(unlisted):
            yield Issue("files-left-out", self.split, str(self.path), left_out)


def _batches(images: Sequence[JsonImage]) -> Iterator[Sequence[JsonImage]]:
    for start in range(0, len(images), _BATCH):
        yield images[start : start + _BATCH]
