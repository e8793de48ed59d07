"""The layout of COCO for the parts of a dataset, each of which is a folder or a zip file.

<root>/<split>/ or <root>/<split>.zip                                              images
<root>/annotations/panoptic_<split>.json                                           segments and categories
<root>/annotations/panoptic_<split>/ or <root>/annotations/panoptic_<split>.zip    panoptic PNGs
<root>/annotations/instances_<split>.json                                          instances, if it has a list of them
"""

from dataclasses import dataclass
from pathlib import Path

from panoptic.io.errors import DatasetError
from panoptic.io.files import folder_or_archive, open_files

# Suffixes of image files, in lower case, where images are found without a list of them.
IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class DatasetSettings:
    """The `dataset` section of params.yaml: name and folder of a dataset, and the splits to train and to evaluate on.

    `panoptic.datasets.known` has the names; any other name stands for own data in the layout above.
    """

    name: str = "mini"
    root: str = "data/mini"
    train: str = "train"
    val: str = "val"


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
    panoptic_json = annotations / f"panoptic_{split}.json"
    masks, images = folder_or_archive(annotations / f"panoptic_{split}"), folder_or_archive(root / split)
    missing = [str(panoptic_json)] if not panoptic_json.is_file() else []
    missing += [f"{path} (folder or .zip)" for path in (masks, images) if not path.exists()]
    if missing:
        raise DatasetError(f"{root}: split '{split}' is incomplete; missing: {', '.join(missing)}")
    instances = annotations / f"instances_{split}.json"
    return SplitFiles(panoptic_json, masks, images, instances if instances.is_file() else None)


@dataclass(frozen=True)
class Part:
    """The files of an archive or a folder whose names begin with `folder` and end with `suffix`."""

    path: Path
    folder: str = ""
    suffix: str = ""

    def names(self) -> tuple[str, ...]:
        """The sorted names of the files in `open_files(path)`, without those that an operating system left behind."""
        names = (name for name in open_files(self.path).names() if name.startswith(self.folder))
        return tuple(name for name in names if name.endswith(self.suffix) and not is_litter(name))


def is_litter(name: str) -> bool:
    """Tell whether a file in an archive is not data but something that an operating system left behind."""
    folders = name.split("/")
    return folders[-1].startswith("._") or folders[-1] in (".DS_Store", "Thumbs.db") or "__MACOSX" in folders
