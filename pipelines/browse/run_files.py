"""Reading what the `browse` stage wrote for one run, and unpacking its small files where the App can read them."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from panoptic.error_browser.entries import FORMAT, BrowserEntry


class BrowseError(RuntimeError):
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
    categories: Mapping[int, Category]

    @classmethod
    def open(cls, folder: Path, state: Path) -> "Run":
        """Read the description, and unpack the archive below `state` unless that has been done."""
        try:
            description = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise BrowseError(f"{folder}: there is no run.json; write it with `dvc repro browse`") from None
        if (found := description.get("format")) != FORMAT:
            raise BrowseError(
                f"{folder / 'run.json'}: format {found!r}, expected {FORMAT!r}: written by another version; "
                "run `dvc repro browse` again"
            )
        categories = {
            entry["id"]: Category(label, entry["id"], entry["name"], bool(entry["isthing"]), tuple(entry["color"]))
            for label, entry in enumerate(description["categories"], start=1)
        }
        digest = hashlib.sha256()
        for name in ("run.json", "images.jsonl", "files.zip"):
            with (folder / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        folder_id = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
        files = state.resolve() / "files" / f"{folder.resolve().name}-{folder_id}"
        _unpack(folder / "files.zip", files, digest.hexdigest())
        return cls(folder, files, digest.hexdigest(), categories)

    def entries(self) -> Iterator[BrowserEntry]:
        """The images in the order written: the clean ones first."""
        with (self.folder / "images.jsonl").open(encoding="utf-8") as lines:
            yield from map(BrowserEntry.from_line, lines)

    def image_path(self, entry: BrowserEntry) -> Path:
        """The absolute path of an image, which may have been unpacked."""
        if entry.image is None:
            return self.files / Path(entry.overlay).with_name("image.jpg")
        return Path(entry.image).resolve()


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
    with zipfile.ZipFile(archive) as files:
        files.extractall(partial)  # zipfile keeps names inside the folder
    partial.rename(folder)
    noted.write_text(digest, encoding="utf-8")
