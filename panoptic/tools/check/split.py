"""Examining one split, whatever is wrong with it: its parts, its JSON, and every picture."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from panoptic.datasets.layout import SplitFiles, is_litter
from panoptic.io.errors import DatasetError
from panoptic.io.files import checked_name, open_files
from panoptic.runtime.parallel import map_ahead
from panoptic.tools.check.image import Source, examine_pictures
from panoptic.tools.check.issues import Fault, what_was_found
from panoptic.tools.check.listing import Listing, Picture, read_listing
from panoptic.tools.check.summary import SplitSummary

# Pictures that a worker takes at once: sending them should cost little beside examining them.
_BATCH = 16
# A file that is listed under another of these names would not be missed by a person.
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class SplitCheck:
    """All that is known of a split. `digests` are those of its image files, by image id."""

    split: str
    files: SplitFiles
    listing: Listing
    summary: SplitSummary
    faults: tuple[Fault, ...]
    digests: dict[int, bytes]

    def place_of(self, picture: Picture) -> str:
        """The image of a picture, for a person."""
        return f"{self.files.images}: {picture.file_name}"


def check_split(split: str, files: SplitFiles, pool: Executor | None, workers: int, progress: bool) -> SplitCheck:
    """Examine a split; nothing in it raises an error. `pool` has that many `workers`."""
    listing = read_listing(split, files.panoptic_json)
    faults: list[Fault] = []
    images = _names(files.images, split, faults)
    masks = _names(files.masks, split, faults)
    pictures = [_with_present_files(picture, files, images, masks, split, faults) for picture in listing.pictures]
    faults += _unlisted(listing, files, images, masks)

    stuff = frozenset(category.id for category in listing.categories.stuff) if listing.categories else frozenset()
    source = Source(split, None if images is None else files.images, None if masks is None else files.masks, stuff)
    summary = SplitSummary(split)
    digests: dict[int, bytes] = {}
    with tqdm(total=len(pictures), desc=f"check {split}", unit="picture", disable=not progress) as bar:
        for batch in map_ahead(pool, partial(examine_pictures, source), _batches(pictures), 2 * workers):
            for examined in batch:
                summary.add(examined)
                faults += examined.faults
                if examined.digest:
                    digests[examined.image_id] = examined.digest
            bar.update(len(batch))
    checked = SplitCheck(split, files, listing, summary, (*listing.faults, *faults), digests)
    return replace(checked, faults=(*checked.faults, *_duplicates(checked)))


def _names(path: Path, split: str, faults: list[Fault]) -> frozenset[str] | None:
    """The files of a part; None and a fault where it is missing or damaged."""
    try:
        return frozenset(open_files(path).names())
    except (DatasetError, OSError) as error:
        faults.append(Fault("part-missing", split, str(path), what_was_found(DatasetError(error), str(path))))
        return None


def _with_present_files(
    picture: Picture,
    files: SplitFiles,
    images: frozenset[str] | None,
    masks: frozenset[str] | None,
    split: str,
    faults: list[Fault],
) -> Picture:
    """The picture without the names that lead nowhere, each of them a fault."""

    def present(name: str | None, path: Path, names: frozenset[str] | None, missing: str) -> str | None:
        if name is None or names is None or name in names:
            return name
        try:
            checked_name(name, path)
        except DatasetError:
            faults.append(Fault("name-leaves-folder", split, str(path), f"{name!r}", picture.image_id))
        else:
            faults.append(Fault(missing, split, f"{path}: {name}", _similar(name, names), picture.image_id))
        return None

    return replace(
        picture,
        file_name=present(picture.file_name, files.images, images, "image-missing"),
        mask_name=present(picture.mask_name, files.masks, masks, "png-missing"),
    )


def _similar(name: str, names: frozenset[str]) -> str:
    """What is missing, and whether the file seems to be there under another ending."""
    stem = name.rpartition(".")[0]
    others = [f"{stem}{suffix}" for suffix in (*_IMAGE_SUFFIXES, *map(str.upper, _IMAGE_SUFFIXES))]
    found = next((other for other in others if other in names), None)
    return f"there is no such file, but '{found}' is there" if found else "there is no such file"


def _unlisted(
    listing: Listing, files: SplitFiles, images: frozenset[str] | None, masks: frozenset[str] | None
) -> Iterator[Fault]:
    """Files that the JSON does not name."""
    for kind, path, names, listed in (
        ("image-unlisted", files.images, images, {picture.file_name for picture in listing.pictures}),
        ("png-unlisted", files.masks, masks, {picture.mask_name for picture in listing.pictures}),
    ):
        for name in sorted((names or frozenset()) - listed):
            if name.lower().endswith(_IMAGE_SUFFIXES) and not is_litter(name):
                yield Fault(kind, listing.split, f"{path}: {name}", "the JSON does not name it")


def _duplicates(checked: SplitCheck) -> Iterator[Fault]:
    """Images of one split with equal content under different names."""
    first: dict[bytes, Picture] = {}
    for picture in checked.listing.pictures:
        digest = checked.digests.get(picture.image_id)
        if digest is None:
            continue
        other = first.setdefault(digest, picture)
        if other.file_name != picture.file_name:
            found = f"the same as '{other.file_name}' (image id {other.image_id})"
            yield Fault("image-duplicate", checked.split, checked.place_of(picture), found, picture.image_id)


def _batches(pictures: Sequence[Picture]) -> Iterator[Sequence[Picture]]:
    for start in range(0, len(pictures), _BATCH):
        yield pictures[start : start + _BATCH]
