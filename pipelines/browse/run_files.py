"""Reading what the `browse` stage has written of one run, and putting its small files where the App can read them."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


class BrowseError(RuntimeError):
    """Says what was found, what was expected, and what to do."""


FORMAT = "browse/1"


@dataclass(frozen=True, slots=True)
class Category:
    """A class; `label` is 1..N in the order of the table, as the masks of stuff have it, and `color` is RGB."""

    label: int
    id: int
    name: str
    is_thing: bool
    color: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment as stages.browse describes it; `box` is left, top, width, height as shares of the image."""

    id: int
    category_id: int
    outcome: str
    iou: float
    boundary_iou: float
    other_id: int | None
    other_category_id: int | None
    is_crowd: bool
    score: float | None
    area: int
    box: tuple[float, float, float, float]
    mask: Path | None


@dataclass(frozen=True, slots=True)
class Image:
    """An image as it is (severity 0) or under a corruption; all paths are absolute."""

    image_id: int
    file_name: str
    corruption: str
    severity: int
    path: Path
    overlay: Path
    height: int
    width: int
    numbers: Mapping[str, float | None]
    lost: Mapping[str, float]
    stuff: Mapping[str, Path]
    segments: Mapping[str, tuple[Segment, ...]]

    @property
    def key(self) -> str:
        """Names the image among all; sorted, the clean one comes before its variants."""
        return f"{self.image_id}/{f'{self.corruption}/{self.severity}' if self.severity else 0}"


@dataclass(frozen=True)
class Run:
    """The folder that stages.browse wrote for one model; `files` is where its archive was unpacked."""

    folder: Path
    files: Path
    digest: str
    categories: Mapping[int, Category]

    @classmethod
    def open(cls, folder: Path, state: Path) -> "Run":
        """Read the description and unpack the archive below `state`, unless it lies there already."""
        try:
            description = json.loads((folder / "run.json").read_text())
        except FileNotFoundError:
            raise BrowseError(f"{folder}: there is no run.json; write it with `dvc repro browse`") from None
        if description.get("format") != FORMAT:
            raise BrowseError(f"{folder / 'run.json'}: not of format {FORMAT!r}; run `dvc repro browse` again")
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

    def images(self) -> Iterator[Image]:
        """In the order written: the clean ones first."""
        with (self.folder / "images.jsonl").open() as lines:
            for line in lines:
                yield self._image(json.loads(line))

    def _image(self, entry: dict[str, object]) -> Image:
        height, width = _number(entry["height"]), _number(entry["width"])
        path = entry["image"]
        own = self.files / Path(str(entry["overlay"])).with_name("image.jpg")
        sides = ("ground_truth", "prediction")
        lost = entry["lost"]
        assert isinstance(lost, dict)
        names = ("pq", "boundary_pq", "pq_lost_to_corruption", "tp", "fp", "fn")
        return Image(
            image_id=int(_number(entry["image_id"])),
            file_name=str(entry["file_name"]),
            corruption=str(entry["corruption"]),
            severity=int(_number(entry["severity"])),
            path=own if path is None else Path(str(path)).resolve(),
            overlay=self.files / str(entry["overlay"]),
            height=int(height),
            width=int(width),
            numbers={name: None if entry[name] is None else _number(entry[name]) for name in names},
            lost={str(kind): _number(share) for kind, share in lost.items()},
            stuff={side: self.files / str(entry[f"stuff_{side}"]) for side in sides},
            segments={side: tuple(self._segments(entry[side], height, width)) for side in sides},
        )

    def _segments(self, entries: object, height: float, width: float) -> Iterator[Segment]:
        assert isinstance(entries, list)
        for entry in entries:
            left, top, across, down = entry.pop("box_xywh")
            mask = entry.pop("mask")
            box = (left / width, top / height, across / width, down / height)
            yield Segment(**entry, box=box, mask=None if mask is None else self.files / mask)


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return value


def _unpack(archive: Path, folder: Path, digest: str) -> None:
    """Complete or not at all; the digest noted beside tells whether it is this archive."""
    noted = folder.with_name(f"{folder.name}.digest")
    if folder.is_dir() and noted.is_file() and noted.read_text() == digest:
        return
    noted.unlink(missing_ok=True)
    partial = folder.with_name(f"{folder.name}.partial")
    for old in (folder, partial):
        shutil.rmtree(old, ignore_errors=True)
    partial.mkdir(parents=True)
    with zipfile.ZipFile(archive) as files:
        files.extractall(partial)  # zipfile keeps names inside of the folder
    partial.rename(folder)
    noted.write_text(digest)
