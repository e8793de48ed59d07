"""Digests of files, folders and splits, and everything of a split that must stay the same."""

import base64
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from panoptic.format.image_id import ImageId
from panoptic.index import PanopticIndex
from panoptic.index.records import all_image_ids
from panoptic.io.errors import DatasetError
from panoptic.io.files import FileSource, folder_or_archive
from panoptic.io.folder import walk
from panoptic.io.names import is_litter
from panoptic.io.zip_archive import ZipArchive
from panoptic.runtime.fingerprint import file_digest

_COPIED_IDS = 1 << 20
"""Largest compressed list of ids, in bytes, that is written into a passport besides its digest."""
LARGEST_LIST = 1 << 26
"""Largest list of ids in bytes that is unpacked from a passport."""


def digest_of(path: Path) -> str:
    """SHA-256 of a file, or of the names and digests of all files in a folder.

    Raises `DatasetError` if there is neither.
    """
    if path.is_dir():
        names = sorted(name for name, unusable in walk(path) if not unusable and not is_litter(name))
        return digest_of_names({name: digest_of(path / name) for name in names})
    try:
        return file_digest(path)
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetError(f"{path}: there is no such file; check the path") from None


def _sha256(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def digest_of_names(digests: Mapping[str, str]) -> str:
    """SHA-256 of names and what belongs to them, in the order of the names."""
    return hashlib.sha256(json.dumps(sorted(digests.items())).encode()).hexdigest()


@dataclass(frozen=True)
class SourceDigest:
    """The digest of images or masks: of the archive, or of those files of a folder that the index names."""

    path: str
    files: int
    sha256: str


@dataclass(frozen=True)
class SplitDigest:
    """Everything that a split is made of, and the contents of its images, to find those that two splits share."""

    index: SourceDigest
    images: SourceDigest
    masks: SourceDigest
    ids: tuple[ImageId, ...]
    contents: frozenset[str]

    def data(self, split: str) -> dict[str, object]:
        """The digests by what they are of, for a passport."""
        return {f"{split} {part}": asdict(getattr(self, part)) for part in ("index", "images", "masks")}

    def identifiers(self) -> dict[str, object]:
        """The image ids for a passport: their number, their digest and, unless they are too many, a compressed list."""
        return {"images": len(self.ids), **describe_ids(self.ids)}


def describe_ids(ids: Iterable[ImageId]) -> dict[str, object]:
    """The digest of ids in ascending order, and the list itself, compressed."""
    text = json.dumps(sorted(ids, key=lambda value: (str(type(value)), value))).encode()
    packed = zlib.compress(text, 9)
    listed = base64.b64encode(packed).decode() if len(packed) <= _COPIED_IDS else None
    return {"sha256": hashlib.sha256(text).hexdigest(), "zlib": listed}


def unpack(packed: str, limit: int) -> bytes:
    """The bytes whose compressed form is written in base64. Raises `ValueError` if they are damaged, or too many."""
    try:
        stream = zlib.decompressobj()
        content = stream.decompress(base64.b64decode(packed, validate=True), limit + 1)
    except zlib.error as error:
        raise ValueError(f"a compressed part of a passport is damaged ({error}); restore the file") from None
    if not stream.eof or len(content) > limit:
        raise ValueError(f"a compressed part of a passport is cut off, or exceeds {limit} bytes; restore the file")
    return content


def digest_split(index_path: Path) -> SplitDigest:
    """Digest an index, and the images and masks that it names. Raises `DatasetError` for a missing file."""
    index = PanopticIndex.load(index_path)
    names = [(record.file_name, record.mask_name) for record in index.records]
    images = _digests(index.images, index.image_files(), [name for name, _ in names])
    masks = _digests(index.masks, index.mask_files(), [name for _, name in names if name])
    return SplitDigest(
        SourceDigest(index_path.as_posix(), 1, digest_of(index_path)),
        _source(index.images, images),
        _source(index.masks, masks),
        tuple(all_image_ids(index.records)),
        frozenset(images.values()),
    )


def _digests(path: Path, files: FileSource, names: list[str]) -> dict[str, str]:
    """What tells contents apart: a file's digest or, in an archive, the checksum and size that it is listed with."""
    if isinstance(files, ZipArchive):
        entries = {name: files.entry(name) for name in names}
        return {name: f"{entry.crc:08x}-{entry.size}" for name, entry in entries.items()}

    def digest(name: str) -> str:
        with files.open(name) as file:
            return _sha256(file)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return dict(zip(names, pool.map(digest, names), strict=True))


def _source(path: Path, digests: Mapping[str, str]) -> SourceDigest:
    real = folder_or_archive(path)
    sha256 = digest_of_names(digests) if real.is_dir() else digest_of(real)
    return SourceDigest(path.as_posix(), len(digests), sha256)
