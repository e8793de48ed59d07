"""The layout of COCO for the parts of a dataset, each of which is a folder or a zip file.

<root>/<split>/ or <root>/<split>.zip                                              images
<root>/annotations/panoptic_<split>.json                                           segments and categories
<root>/annotations/panoptic_<split>/ or <root>/annotations/panoptic_<split>.zip    panoptic PNGs
<root>/annotations/instances_<split>.json                                          instances, if it has a list of them
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from panoptic.io.errors import DatasetError, shown_ids
from panoptic.io.files import FileSource, folder_or_archive, open_files
from panoptic.io.folder import spelled_on_disk
from panoptic.io.reading import describe_unusable
from panoptic.runtime.ranges import Name, require_ranges

# Suffixes of image files, in lower case, by which images are found without a list: all that OpenCV and Pillow read.
IMAGE_SUFFIXES = (
    *(".apng", ".avif", ".avifs", ".bmp", ".bw", ".dds", ".dib", ".gif", ".icb", ".icns", ".ico", ".im"),
    *(".j2c", ".j2k", ".jfif", ".jif", ".jp2", ".jpc", ".jpe", ".jpeg", ".jpf", ".jpg", ".jpx", ".mpo"),
    *(".msp", ".pbm", ".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".ras", ".rgb", ".rgba"),
    *(".sgi", ".sr", ".tga", ".tif", ".tiff", ".vda", ".vst", ".webp", ".xbm"),
)
# Suffixes of photos that neither reads.
_PHOTO_SUFFIXES = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".exr", ".hdr", ".heic", ".heif", ".hif", ".jxl", ".nef"),
    *(".orf", ".pef", ".psd", ".raf", ".raw", ".rw2", ".srw"),
)


def is_image(name: str) -> bool:
    """Tell by its suffix whether a file is an image that can be read."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def describe_left_out(names: Iterable[str]) -> Iterator[str]:
    """Count the files that are no images by suffix, as in `3 files left out: 2 .txt, 1 .mp4`; nothing without any."""
    counts = Counter(PurePosixPath(name.lower()).suffix for name in names if not is_image(name))
    if found := [
        f"{count} {suffix or 'without a suffix'}{' (convert to JPEG or PNG)' if suffix in _PHOTO_SUFFIXES else ''}"
        for suffix, count in counts.most_common()
    ]:
        yield f"{_count(counts.total())} left out: {shown_ids(found, 6)}"


def describe_unused(files: FileSource, used: Iterable[str]) -> Iterator[str]:
    """Count what a list leaves out of a folder or zip file, in one line each for images, other files and non-files."""
    found = {files.table.find(name) for name in used}
    others = [name for name in files.names() if name not in found]
    if unlisted := list(filter(is_image, others)):
        images = f"{len(unlisted)} image{'' if len(unlisted) == 1 else 's'}"
        yield f"{images} left out that the list does not name ({shown_ids(unlisted, 3)})"
    yield from describe_left_out(others)
    yield from describe_skipped(files)


def describe_skipped(files: FileSource) -> Iterator[str]:
    """Count what was found in a folder and cannot be read, with the first examples; nothing without any."""
    if unusable := [f"'{name:.80}' {why}" for name, why in files.unusable().items()]:
        yield f"{_count(len(unusable))} left out: {shown_ids(unusable, 3, '; ')}"


def _count(files: int) -> str:
    return f"{files} file{'' if files == 1 else 's'}"


@dataclass(frozen=True)
class DatasetSettings:
    """The `dataset` section of params.yaml: name and folder of a dataset, and the splits to train and to evaluate on.

    `panoptic.datasets.known` has the names; any other name stands for own data in the layout above.
    """

    name: Name = "mini"
    root: Name = "data/mini"
    train: Name = "train"
    val: Name = "val"

    def __post_init__(self) -> None:
        require_ranges(self, "dataset")


@dataclass(frozen=True)
class SplitFiles:
    """The parts of one split."""

    panoptic_json: Path
    masks: Path
    images: Path
    instances: Path | None = None


def find_split(root: Path, split: str) -> SplitFiles:
    """Find the parts of a split below `root`. Raises `DatasetError` that lists every missing part."""
    annotations = root / "annotations"
    panoptic_json = spelled_on_disk(annotations / f"panoptic_{split}.json")
    masks, images = folder_or_archive(annotations / f"panoptic_{split}"), folder_or_archive(root / split)
    absent = {} if panoptic_json.is_file() else {panoptic_json: "file"}
    absent |= {path: "folder or .zip" for path in (masks, images) if not path.exists()}
    instances = spelled_on_disk(annotations / f"instances_{split}.json")  # optional, but not if there is something else
    absent |= {instances: "file"} if describe_unusable(instances) else {}
    missing = [f"{path} ({describe_unusable(path) or expected})" for path, expected in absent.items()]
    if missing:
        raise DatasetError(f"{root}: split '{split}' is incomplete; missing: {', '.join(missing)}")
    return SplitFiles(panoptic_json, masks, images, instances if instances.is_file() else None)


@dataclass(frozen=True)
class Part:
    """The files of an archive or a folder whose names begin with `folder` and end with `suffix`."""

    path: Path
    folder: str = ""
    suffix: str = ""

    def names(self) -> tuple[str, ...]:
        """The sorted names of the files in `open_files(path)`."""
        return tuple(filter(self.has, open_files(self.path).names()))

    def has(self, name: str) -> bool:
        """Tell whether a file with this name belongs to the part."""
        return name.startswith(self.folder) and name.endswith(self.suffix)

    def stem(self, name: str) -> str:
        """Return what tells a file from the others of the part."""
        return name.removeprefix(self.folder).removesuffix(self.suffix)

    def name(self, stem: str) -> str:
        """Return the name of the file with this stem."""
        return f"{self.folder}{stem}{self.suffix}"

    def sha256(self) -> str:
        """The digest of the names and contents of the files, which does not depend on how they are packed."""
        files, digest = open_files(self.path), hashlib.sha256()
        for name in self.names():
            content = files.read(name)
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
        return digest.hexdigest()
