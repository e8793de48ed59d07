"""Corrupted versions of a split (COCO-C): a manifest of images and variants, and their archives.

An archive is a zip file of one variant. Its images are PNGs, which are lossless, so the network sees the same pixels as
when images are corrupted on the fly.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic.data.reader import PanopticReader
from panoptic.format.image_id import ImageId, file_stem
from panoptic.index import ImageRecord, PanopticIndex
from panoptic.index.records import all_image_ids, take
from panoptic.io.errors import DatasetError, shown_ids
from panoptic.io.files import naming_disk_errors, replace_atomically
from panoptic.io.json_fields import encode_json, read_json
from panoptic.io.reading import read_text
from panoptic.io.zip_entries import add_file
from panoptic.robustness.corruptions import (
    CORRUPTIONS,
    SEVERITIES,
    Variant,
    corrupt_image,
    library_versions,
    own_sources,
)
from panoptic.runtime.fingerprint import bytes_digest
from panoptic.runtime.ranges import Count, Workers, require_ranges

FORMAT = "coco-c/2"


@dataclass(frozen=True)
class CorruptSettings:
    """The `corrupt` section of params.yaml.

    `corruptions`: names from `panoptic.robustness.corruptions`, or functions of one's own as `module:function`.
    `image_ids`: a text file with one image id per line; empty for all of the index. `images`: how many of these, from
    the first on; 0 for all. `archives`: write archives; otherwise each image is made when it is predicted. `workers`:
    processes beside this one, -1 for one per core; they do not change the result.
    """

    corruptions: list[str] = field(default_factory=lambda: list(CORRUPTIONS))
    severities: list[int] = field(default_factory=lambda: list(SEVERITIES))
    images: Count = 0
    image_ids: str = ""
    archives: bool = True
    workers: Workers = 0

    def __post_init__(self) -> None:
        """Refuse variants that do not exist or are listed twice, and negative counts."""
        require_ranges(self, "corrupt")
        variants = self.variants
        if not variants or len(set(variants)) < len(variants):
            raise ValueError(
                f"corrupt: corruptions {self.corruptions}, severities {self.severities}; "
                "give at least one corruption and one severity, each once"
            )

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Every corruption at every severity, in the order given."""
        return tuple(Variant(name, severity) for name in self.corruptions for severity in self.severities)


@dataclass(frozen=True)
class CorruptedSplit:
    """The manifest: the images by their ids, the variants, and everything that determines the corrupted pixels."""

    image_ids: tuple[ImageId, ...]
    variants: tuple[Variant, ...]
    archives: bool
    images: str  # SHA-256 of the images' files
    libraries: dict[str, str]
    own_sources: dict[str, str]  # SHA-256 of the file of every corruption of one's own

    @classmethod
    def choose(cls, index: PanopticIndex, settings: CorruptSettings) -> "CorruptedSplit":
        """The part of `index` that `settings` ask for. Raises `DatasetError` for ids that it does not have."""
        records = index.records
        if settings.image_ids:
            records = find_records(index, _read_ids(Path(settings.image_ids), index), settings.image_ids)
        records = records[: settings.images or None]
        return cls(
            image_ids=tuple(all_image_ids(records)),
            variants=settings.variants,
            archives=settings.archives,
            images=_digest(index, records),
            libraries=library_versions(),
            own_sources=own_sources(settings.corruptions),
        )

    @classmethod
    def load(cls, path: Path) -> "CorruptedSplit":
        """Read a manifest. Raises `DatasetError` for another format."""
        document = read_json(path)
        if (found := document.values.get("format")) != FORMAT:
            raise DatasetError(
                f"{path}: format {found!r}, expected {FORMAT!r}: written by another version; run stages.corrupt again"
            )
        variants = ((entry.text("corruption"), entry.integer("severity")) for entry in document.objects("variants"))
        return cls(
            image_ids=tuple(document.identifiers("image_ids")),
            variants=tuple(Variant(*variant) for variant in variants),
            archives=document.flag("archives"),
            images=document.text("images_sha256"),
            libraries={name: str(version) for name, version in document.child("libraries").values.items()},
            own_sources={name: str(digest) for name, digest in document.child("own_sources").values.items()},
        )

    def check(self, index: PanopticIndex, where: Path) -> None:
        """Raise `DatasetError`, naming the manifest `where`, if images, libraries or own corruptions have changed."""
        changed = [
            name
            for name, same in {
                "the images": self.images == _digest(index, index.records),
                # Archives hold images that were made by the libraries of their time.
                "the libraries that corrupt": self.archives or self.libraries == library_versions(),
                "the corruptions of your own": self.archives or self.own_sources == own_sources(self.own_sources),
            }.items()
            if not same
        ]
        if changed:
            raise DatasetError(f"{where}: {' and '.join(changed)} have changed since; run stages.corrupt again")

    def to_json(self) -> bytes:
        """The manifest as a file; equal ones give equal bytes."""
        document = {
            "format": FORMAT,
            "archives": self.archives,
            "images_sha256": self.images,
            "libraries": self.libraries,
            "own_sources": self.own_sources,
            "variants": [{"corruption": name.corruption, "severity": name.severity} for name in self.variants],
            "image_ids": self.image_ids,
        }
        return encode_json(document)


def find_records(index: PanopticIndex, image_ids: Sequence[ImageId], where: str) -> Sequence[ImageRecord]:
    """The records with these ids, in their order; `where` names the source of the ids in errors."""
    known = {image_id: position for position, image_id in enumerate(all_image_ids(index.records))}
    unknown = [image_id for image_id in image_ids if image_id not in known]
    if unknown:
        raise DatasetError(
            f"{where}: {len(unknown)} of {len(image_ids)} image ids are not in the index ({shown_ids(unknown)}); "
            "give those of the split that is corrupted"
        )
    return take(index.records, [known[image_id] for image_id in image_ids])


def _digest(index: PanopticIndex, records: Sequence[ImageRecord]) -> str:
    files = index.image_files()
    return bytes_digest(files.read(record.file_name) for record in records)


def images_of(index: PanopticIndex) -> PanopticReader:
    """A reader of images without the records, which costs little to send to a worker."""
    return PanopticReader(replace(index, records=index.records[:0]))


def corrupted_images(
    reader: PanopticReader, variant: Variant, records: Sequence[ImageRecord]
) -> list[NDArray[np.uint8]]:
    """Read and corrupt some images, each (H,W,3) uint8 RGB."""
    return [
        corrupt_image(reader.image(record), variant.corruption, variant.severity, record.image_id) for record in records
    ]


def write_archive(path: Path, reader: PanopticReader, variant: Variant, records: Sequence[ImageRecord]) -> None:
    """Write the archive of one variant, complete or not at all; equal images give equal bytes."""
    with (
        replace_atomically(path) as partial,
        naming_disk_errors(path),
        zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive,
    ):
        for record in records:
            (image,) = corrupted_images(reader, variant, [record])
            _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            add_file(archive, _name_in_archive(record), data.tobytes())


def archive_name(variant: Variant) -> str:
    """The archive's name beside the manifest."""
    return f"{variant}.zip"


def index_of_archive(index: PanopticIndex, archive: Path) -> PanopticIndex:
    """The index with the corrupted images of an archive instead of its own."""
    records = tuple(replace(record, file_name=_name_in_archive(record)) for record in index.records)
    return replace(index, images=archive, records=records)


def _name_in_archive(record: ImageRecord) -> str:
    return f"{file_stem(record.image_id)}.png"


def _read_ids(path: Path, index: PanopticIndex) -> list[ImageId]:
    """Read image ids of the type that `index` has, one per line; `#` starts a comment."""
    is_text = isinstance(next(iter(all_image_ids(index.records)), 0), str)
    try:
        lines = read_text(path).splitlines()
    except DatasetError as error:
        found = str(error).rpartition(";")[0]
        raise DatasetError(f"{found}; correct corrupt.image_ids") from None
    seen: dict[ImageId, int] = {}
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        if not is_text and not (text.isascii() and text.isdigit()):
            raise DatasetError(f"{path}, line {number}: {text!r} is no image id; give one number per line")
        image_id = text if is_text else int(text)
        if image_id in seen:
            raise DatasetError(f"{path}, line {number}: image id {image_id} is in line {seen[image_id]} already")
        seen[image_id] = number
    if not seen:
        raise DatasetError(f"{path}: no image id in it; give one per line")
    return list(seen)
