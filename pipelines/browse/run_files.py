"""Reading what the `browse` stage wrote for one run, and unpacking its small files where the App can read them."""

import hashlib
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from panoptic.error_browser.entries import FORMAT, BrowserEntry, read_entries
from panoptic.io.reading import read_text, require_file

_HINT = "run `dvc repro browse` again"


class BrowseError(ValueError):
    """An error whose message says what was found, what was expected, and what to do."""


@dataclass(frozen=True, slots=True)
class Category:
    """A class; `label` is 1..N in the order of the table, as in the masks of stuff, and `color` is RGB."""

    label: int
    id: int
    name: str
    is_thing: bool
    color: tuple[int, int, int]


@dataclass(frozen=True)
class Run:
    """The folder that stages.browse wrote for one model; `files` is where its archive is unpacked."""

    folder: Path
    files: Path
    digest: str
    images: int
    categories: Mapping[int, Category]

    @classmethod
    def open(cls, folder: Path, state: Path) -> "Run":
        """Read the description, and unpack the archive below `state` unless that has been done.

        Raises `ValueError` that names a missing or damaged file.
        """
        images, categories = _read_description(folder / "run.json")
        digest = hashlib.sha256()
        for name in ("run.json", "images.jsonl", "files.zip"):
            with require_file(folder / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        folder_id = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
        files = state.resolve() / "files" / f"{folder.resolve().name}-{folder_id}"
        _unpack(folder / "files.zip", files, digest.hexdigest())
        return cls(folder, files, digest.hexdigest(), images, categories)

    def entries(self) -> Iterator[BrowserEntry]:
        """The images in the order written: the clean ones first. Raises `DatasetError` that names a damaged line."""
        for _, entry in read_entries(self.folder / "images.jsonl", self.images, self.categories):
            yield entry

    def image_path(self, entry: BrowserEntry) -> Path:
        """The absolute path of an image, which may have been unpacked."""
        if entry.image is None:
            return self.files / Path(entry.overlay).with_name("image.jpg")
        return Path(entry.image).resolve()


def _read_description(path: Path) -> tuple[int, dict[int, Category]]:
    """Read the number of images and the classes."""
    if not os.path.lexists(path):
        raise BrowseError(f"{path.parent}: there is no run.json; write it with `dvc repro browse`")
    try:
        description = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise BrowseError(f"{path}: not valid JSON ({error}); {_HINT}") from None
    found = description.get("format") if isinstance(description, dict) else None
    if found != FORMAT:
        raise BrowseError(f"{path}: format {found!r:.40}, expected {FORMAT!r}: written by another version; {_HINT}")
    match description:
        case {"images": int(images), "categories": [*entries]}:
            categories = [_category(label, entry, path) for label, entry in enumerate(entries, start=1)]
            return images, {category.id: category for category in categories}
    raise BrowseError(f"{path}: has no number of images or no classes; {_HINT}")


def _category(label: int, entry: object, path: Path) -> Category:
    match entry:
        case {"id": int(id_), "name": str(name), "isthing": 0 | 1 as is_thing, "color": [int(r), int(g), int(b)]}:
            return Category(label, id_, name, bool(is_thing), (r, g, b))
    raise BrowseError(f"{path}: {entry!r:.60} is no class; {_HINT}")


def _unpack(archive: Path, folder: Path, digest: str) -> None:
    """Unpack all or nothing; the digest beside the folder identifies the archive that it holds."""
    noted = folder.with_name(f"{folder.name}.digest")
    if folder.is_dir() and noted.is_file() and noted.read_text(encoding="utf-8") == digest:
        return
    noted.unlink(missing_ok=True)
    partial = folder.with_name(f"{folder.name}.partial")
    for old in (folder, partial):
        shutil.rmtree(old, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with zipfile.ZipFile(archive) as files:
            # Written without compression, so more would be a bomb.
            if sum(entry.file_size for entry in files.infolist()) > archive.stat().st_size:
                raise BrowseError(f"{archive}: its files are larger than itself; {_HINT}")
            files.extractall(partial)  # zipfile keeps names inside the folder
    except (zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error) as error:
        raise BrowseError(f"{archive}: is damaged ({error}); {_HINT}") from None
    partial.rename(folder)
    noted.write_text(digest, encoding="utf-8")
