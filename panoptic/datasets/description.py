"""The type that describes a dataset: everything in which datasets differ. `panoptic.datasets.known` describes them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from panoptic.datasets.layout import Part
from panoptic.io.errors import DatasetError

if TYPE_CHECKING:
    from panoptic.datasets.coco import ImageSource

# Below a dataset's root: archives that are only unpacked, and the records of what was verified.
ARCHIVES_FOLDER = "archives"


@dataclass(frozen=True)
class Archive:
    """A published file.

    `path` is its path below the dataset's root. `splits` are those that it has files of; a run without any of them
    does not need it. `unpacked` are the entries that are taken out of a zip file, to the same names below the root,
    where `{split}` stands for each split in use. `repacked` is the zip file that a tar archive becomes, because a tar
    archive has no index to read single files by.

    `sha256` is None for an archive whose digest was never published. Then `bytes` is about right, and `content_sha256`
    is that of the files below `content`, by `Part.sha256`.
    """

    address: str
    bytes: int
    sha256: str | None
    path: str
    splits: tuple[str, ...]
    unpacked: tuple[str, ...] = ()
    repacked: str | None = None
    content: str = ""
    content_sha256: str | None = None

    @property
    def name(self) -> str:
        return PurePosixPath(self.path).name

    def outputs(self, splits: Iterable[str]) -> tuple[str, ...]:
        """The files below the root that come out of it for `splits`; none if it is read in place."""
        if self.repacked:
            return (self.repacked,)
        names = [entry.format(split=split) for split in splits if split in self.splits for entry in self.unpacked]
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class TypicalImage:
    """Rough figures to plan with before the data is there: numbers of classes, size in pixels, segments of an image."""

    num_things: int
    num_stuff: int
    height: int
    width: int
    things: float
    stuff: float


@dataclass(frozen=True)
class DatasetDescription:
    """A dataset: how to read its images, where its files are, and, if it is published, its archives.

    Attributes:
        find_source: lists the images of a split below a root, without reading them.
        find_parts: finds the files of a split below a root, by part. Each part of a published dataset, one of which is
            `images`, has one file per image.
        hint: what to do if a part is missing; empty for a dataset that is fetched.
        draws_masks: whether annotate draws its panoptic PNGs, because it has none.
        archives: everything that is fetched; empty for data that is put in place otherwise.
        images: the published number of images of each split, those without annotation left out; empty for own data.
        partly_annotated: whether `images` may have more files than `masks`, by whose names those with annotation are
            recognized.
        test: the split without annotations, which is fetched or looked for on request only.
        typical: figures for plans.
        marks: names by which a folder is recognized that holds the dataset as published, in a layout of its own.
    """

    find_source: "Callable[[Path, str], ImageSource]"
    find_parts: Callable[[Path, str], Mapping[str, Part]]
    hint: str = ""
    draws_masks: bool = False
    archives: tuple[Archive, ...] = ()
    images: Mapping[str, int] = field(default_factory=dict)
    partly_annotated: bool = False
    test: str | None = None
    typical: TypicalImage | None = None
    marks: tuple[str, ...] = ()

    def needed(self, splits: Iterable[str]) -> tuple[Archive, ...]:
        """The archives that `splits` need. Raises `DatasetError` for a split that does not exist."""
        wanted = set(splits)
        unknown = sorted(wanted - self.images.keys())
        if unknown:
            raise DatasetError(f"no split {', '.join(map(repr, unknown))}; there are: {', '.join(self.images)}")
        return tuple(archive for archive in self.archives if wanted.intersection(archive.splits))

    def require_annotated(self, splits: Iterable[str]) -> None:
        """Raise `DatasetError` if one of the splits to train or to evaluate on has no annotations."""
        if self.test is not None and self.test in splits:
            others = ", ".join(split for split in self.images if split != self.test)
            raise DatasetError(
                f"split '{self.test}' has no annotations to train or to evaluate on; name one of these: {others}; "
                "`panoptic predict FOLDER` predicts its images"
            )
